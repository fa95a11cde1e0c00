"""Mutants by machine of the reference engine and of the code that judges: `python -m benchmarks.mutation`."""
