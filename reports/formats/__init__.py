"""How a report is shown: a function of what is stored, one module a format. `RENDERERS` in `reports.store` lists the files."""
