"""Contracts: what recovery owes, one module for each kind of promise. `base` has the interface, `named` finds one by its name."""
