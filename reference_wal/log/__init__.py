"""One table's write-ahead log: segments of checksummed Arrow records, group commit, retention, recovery."""
