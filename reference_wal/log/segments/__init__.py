"""One segment of a log: its format, the seal before each record, the one that grows, how a torn write differs from damage."""
