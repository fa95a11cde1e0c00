"""State machines: Hypothesis drives a store through operations and crashes."""
