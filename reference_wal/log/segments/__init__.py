"""Segments of a log: their format, the seal before each record, the active segment, torn writes and damage."""
