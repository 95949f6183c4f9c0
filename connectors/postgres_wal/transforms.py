"""Which tables have transforms, and what these are. Touches nothing but the modules of Python functions."""

from __future__ import annotations

from cdc import names
from cdc.errors import ConfigError
from cdc.patterns import most_specific
from cdc.settings import Settings
from cdc.transforms.chain import Chain, made
from cdc.transforms.stage import Stage

from .settings import PostgresWalSettings


class Chains:
    """The transforms of a connector's tables, by the entry under `tables:`.

    Args:
        settings: all settings.
        name, section: the connector's name and section.
    Raises: ConfigError: a Python function that is not there.
    """

    def __init__(self, settings: Settings, name: str, section: PostgresWalSettings) -> None:
        self._settings = settings
        self._tables = section.tables
        self._chains: dict[str, Chain] = {}
        for entry, options in section.tables.items():
            steps = section.steps(options)
            if steps or options.outbox is not None:
                try:
                    self._chains[entry] = made(
                        steps, options.outbox, section.style(settings.name, own_format=options.format).with_schemas
                    )
                except ConfigError as error:
                    problems = [
                        settings.problem(("connectors", name, "tables", entry, "transforms"), each.message)
                        for each in error.problems
                    ]
                    raise ConfigError(problems, hint=error.hint) from error

    def of(self, table: str) -> Chain | None:
        """The transforms of "schema.table"."""
        entry = most_specific(self._tables, table) if self._chains else None
        return None if entry is None else self._chains.get(entry)

    def stage(self) -> Stage | None:
        """What batches go through; None where no table has transforms."""
        if not self._chains:
            return None
        settings = self._settings
        return Stage(
            self.of,
            names.schemas_topic(settings.name),
            lambda topic: "compact" in (settings.topic(topic).cleanup_policy or "compact"),
        )
