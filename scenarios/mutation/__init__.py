"""Mutation testing: bugs planted by machine in a store's source, and which of them a harness misses.

Read in this order: source, operators, mutant, overlay, attempt, harness, mutation_run, results, survivors.
"""
