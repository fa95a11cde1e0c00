"""A whole run: the registry of experiments, the plan, the report; replays and mutation runs."""
