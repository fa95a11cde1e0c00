"""The systems that come with crashmatrix."""
