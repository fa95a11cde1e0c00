"""Tests of the sandbox: what a target sees, reaches and leaves."""
