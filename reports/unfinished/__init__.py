"""What a run leaves that is not finished, so that it can be resumed."""
