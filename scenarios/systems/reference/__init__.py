"""The reference engine and its log as systems under test."""
