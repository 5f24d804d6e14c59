"""The token table: its parquet schema, writing and reading with checksums, tokenizing a shard."""
