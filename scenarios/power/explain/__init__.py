"""Explains why a power cut broke a promise: a minimal crash, its losses, and a missing sync, tried on a new recording."""
