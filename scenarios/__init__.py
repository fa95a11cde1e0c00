"""Experiments on storage systems: kill the process, cut the power, and see whether recovery keeps what was promised.

What users write is exported by `crashmatrix` itself.
"""
