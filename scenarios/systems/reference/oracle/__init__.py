"""The oracle of the reference workload: calls that are refused, damage that is noticed, and where batches are."""
