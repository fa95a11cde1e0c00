"""The reference engine with its calls overlapping, and the contract that takes any order of them."""
