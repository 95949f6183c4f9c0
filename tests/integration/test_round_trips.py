"""Warehouse → connector → Kafka → sink: random values of every type come out as they went in, whatever the format.

`ROUND_TRIP_EXAMPLES` is how many of each type (100), `ROUND_TRIP_SEED` what they are made from (1); both are printed.
What a format has no place for is in `tests.round_trips.losses`.
"""

from __future__ import annotations

from cdc.testing.servers import KafkaServer
from tests.databases import Database
from tests.round_trips.run import Difference, RoundTrip
from tests.round_trips.values import samples
from tests.schema_registry import running


def test_random_values_of_every_type_come_out_as_they_went_in(
    prefix: str, kafka: KafkaServer, database: Database
) -> None:
    with running() as registry:
        differences = RoundTrip(prefix, kafka, database, registry.url, samples()).differences()
    assert not differences, "\n".join(map(str, _shortest(differences)))


def _shortest(differences: list[Difference]) -> list[Difference]:
    """Of each type, format and way the difference of the shortest value."""
    found: dict[tuple[str, str, bool], Difference] = {}
    for difference in sorted(differences, key=lambda each: len(each.value or ""), reverse=True):
        found[difference.type, difference.format, difference.streamed] = difference
    return list(found.values())
