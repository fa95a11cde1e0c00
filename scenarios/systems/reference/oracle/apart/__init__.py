"""Oracles that make folders of their own, apart from that of the run: they find the same in each run of a campaign."""
