"""Why a power cut broke a promise: the smallest such crash, what it took, and a sync that would have helped, tried."""
