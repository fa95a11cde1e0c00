"""The `power` experiment: the machine dies; recordings, their crash states, and the judges of these."""
