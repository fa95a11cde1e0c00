"""A whole run: which experiments, in what order, what becomes of their results; mutation runs."""
