"""Snapshots of folders: taken, compared and laid out again."""
