"""One sandbox for every process that runs code of a target: `cell` has the namespaces, `view` the files that are seen there."""
