"""One segment of a log: its format, the seal before each record, the one that grows, a torn write told from damage."""
