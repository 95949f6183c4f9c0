"""Settings of a Debezium connector → YAML of ours. Pure; knows the settings of `postgres_wal` by name only."""
