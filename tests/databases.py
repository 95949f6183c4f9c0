"""Databases of their own for tests; where they are made is `cdc.testing.databases`."""

from cdc.testing.databases import Database, fresh_database

__all__ = ["Database", "fresh_database"]
