"""Judging a crashed folder: snapshot, recovery in a fresh process, contract, checks."""
