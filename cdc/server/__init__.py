"""The local HTTP address of `cdc run`, and its readers."""
