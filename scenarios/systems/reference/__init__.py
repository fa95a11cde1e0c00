"""The reference engine and its log as systems under test, and the bugs planted in them."""
