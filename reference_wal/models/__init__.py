"""Compression by models under an error bound: the bounds, two models, and the segments that a generation becomes."""
