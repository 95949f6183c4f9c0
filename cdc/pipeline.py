"""The connector's loop. Touches nothing itself: connector and publisher do."""

from __future__ import annotations

import gc

from cdc.connector import Connector, Stopped
from cdc.publisher import Publisher


def run_connector(connector: Connector, publisher: Publisher) -> None:
    """Read, publish and confirm until `connector.stop()`.

    Raises:
        CdcError: the worker starts over when it is `retriable`; the way back is the same as
            after a crash: the stored position.
    """
    # Batches are large and short-lived: looking at every young object over and over costs more than it frees.
    gc.set_threshold(100_000, 20, 20)
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
