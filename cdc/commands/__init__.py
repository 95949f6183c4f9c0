"""`cdc …`: one module per command."""
