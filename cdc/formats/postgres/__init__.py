"""PostgreSQL's rows, in the server's text, as events in Debezium's JSON; compiled where possible."""
