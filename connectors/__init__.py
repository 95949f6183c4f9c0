"""Connectors: each package reads one kind of source. They import `cdc`, never each other or a sink."""
