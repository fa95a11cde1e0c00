"""Bugs planted in the reference engine and its log: a table of them, and what each replaces."""
