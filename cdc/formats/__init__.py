"""Value and key formats of events; Debezium's JSON is the first."""
