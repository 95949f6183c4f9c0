"""`cdc prove`: faults against the whole line, and a judge that shares no code with the bridge."""
