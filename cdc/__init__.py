"""Change data capture from PostgreSQL to Kafka and into the tables of services, exactly once.

Here is what plugins and services import by name; everything else is found in its module.
"""

from cdc import compiled

compiled.install()

from cdc.connector import Connector, Stopped  # noqa: E402 - hot modules may come with these
from cdc.errors import CdcError  # noqa: E402
from cdc.event import Batch, EventTopic, Record  # noqa: E402
from cdc.position import Position  # noqa: E402
from cdc.sink import Event, EventBatch, Sink  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "CdcError",
    "Connector",
    "Event",
    "EventBatch",
    "EventTopic",
    "Position",
    "Record",
    "Sink",
    "Stopped",
    "__version__",
]
