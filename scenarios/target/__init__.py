"""The parts that a user writes, and those that judge them: system, journal, contract."""
