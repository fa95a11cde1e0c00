from pathlib import Path

ROOT = Path(__file__).parents[1]
"""Top of the repository."""
