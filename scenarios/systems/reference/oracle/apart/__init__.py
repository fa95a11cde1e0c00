"""Oracles that make folders of their own, apart from that of the run: what they find is the same in each run of a campaign."""
