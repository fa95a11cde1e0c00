"""The disk as a source of errors: its requests fail, or it is full, under a real filesystem and a real page cache."""
