"""Settings of a Debezium connector → ours. Pure; knows the settings of `postgres_wal` by name only."""
