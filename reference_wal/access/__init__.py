"""Who may be at the engine, and at a table, at the same time; and whether anybody may."""
