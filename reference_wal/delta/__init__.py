"""The committed side of a table: Parquet files and durable Delta transactions, checkpoints, transfer."""
