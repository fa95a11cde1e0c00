"""The formats of a report, one module each: functions of the stored results. `RENDERERS` in `reports.store` lists the files."""
