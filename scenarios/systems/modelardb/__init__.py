"""ModelarDB's first write-ahead log, after its published source, with a switch for each of its flaws."""
