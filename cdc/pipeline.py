"""The connector's loop. Touches nothing itself: connector and publisher do."""

from __future__ import annotations

from cdc.connector import Connector, Stopped
from cdc.publisher import Publisher


def run_connector(connector: Connector, publisher: Publisher) -> None:
    """Read, publish and confirm until `connector.stop()`.

    Raises:
        CdcError: the worker starts over when it is `retriable`; the way back is the same as
            after a crash: the stored position.
    """
    try:
        with connector.lock():
            stored = publisher.take_over()
            connector.start(stored)
            for batch in connector.batches():
                publisher.publish(batch)
                connector.confirm(batch.position)
    except Stopped:
        pass
    finally:
        publisher.close()
