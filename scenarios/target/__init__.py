"""What a user writes, and what it is judged by: system, journal, contract."""
