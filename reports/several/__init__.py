"""Several runs in one directory: of some targets, or of a soak's seeds."""
