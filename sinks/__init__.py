"""Sinks: each package writes one kind of target. They import `cdc`, never each other or a connector."""
