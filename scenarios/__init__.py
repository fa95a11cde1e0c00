"""Experiments on storage systems: kill the process, cut the power, and see whether recovery keeps every promise.

`crashmatrix` itself exports the names that users need.
"""
