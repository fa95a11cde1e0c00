"""ModelarDB's first write-ahead log, after its published source, each of its flaws a switch."""
