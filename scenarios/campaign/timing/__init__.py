"""Time: the limit of a run, and the estimate of the time that it takes still."""
