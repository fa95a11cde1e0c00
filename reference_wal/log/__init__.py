"""The write-ahead log of a table: segments of checksummed Arrow records, group commit, retention, recovery."""
