"""The connector's loop. Touches nothing itself: connector, publisher and difference do."""

from __future__ import annotations

import gc

from cdc.connector import Connector, Stopped
from cdc.difference import Difference
from cdc.errors import Gap
from cdc.position import Position
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
            try:
                publisher.check()
                connector.start(stored)
                if publisher.goes_on:
                    publisher.inherit(connector.inherited())
                publisher.watch(connector.stop)
                _publish(connector, publisher, stored)
            except Gap as gap:
                gap.hint = (
                    gap.hint or f"`cdc heal {publisher.connector}` shows what is missing, and with --yes mends it"
                )
                publisher.remember(gap)
                raise
    except Stopped:
        pass
    finally:
        publisher.close()


def _publish(connector: Connector, publisher: Publisher, stored: Position | None) -> None:
    difference = Difference(connector, publisher) if connector.healing() else None
    try:
        for batch in connector.batches():
            if difference is None:
                publisher.publish(batch)
            else:
                assert stored is not None, "what heals has a position"
                for piece in difference.pieces(batch, stored):
                    publisher.publish(piece)
            connector.confirm(batch.position)
            stored = batch.position
            if difference is not None and not connector.healing():
                difference.close()
                difference = None
    except Stopped:
        publisher.check_watch()
        raise
    finally:
        if difference is not None:
            difference.close()
    # The watch lets the connector end as anybody's stop does.
    publisher.check_watch()
