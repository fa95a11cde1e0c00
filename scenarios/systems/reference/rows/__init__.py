"""The rows of the reference workload: hostile ones, and the comparison that takes none for another."""
