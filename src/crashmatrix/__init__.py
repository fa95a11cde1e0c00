"""Kills storage engines at every failpoint and verifies that recovery keeps every promise."""
