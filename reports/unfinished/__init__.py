"""The rest of a run that is not finished, so that it can be resumed."""
