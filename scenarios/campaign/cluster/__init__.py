"""Many machines: a run's tasks on a Dask cluster. The coordinator owns plan, ids, verdicts and report; a worker owns nothing."""
