"""The work of experiments as tasks: the pool that carries them out, and the memory of their results."""
