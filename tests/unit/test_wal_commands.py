"""Commands that a connector which reads the WAL does not take."""

from __future__ import annotations

import pytest

from cdc.errors import Refused
from connectors.postgres_wal.commands import Commands
from connectors.postgres_wal.ledger import Ledger


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ("poll", r"connector orders does not poll: it reads every change as it is committed(.|\n)*`cdc snapshot`"),
        ("drop", "connector orders: there is no command drop"),
    ],
)
def test_what_it_does_not_do_it_refuses_in_a_sentence(action: str, says: str) -> None:
    ledger = Ledger()
    commands = Commands(
        ledger,
        captured=lambda: {"public.t"},
        changed=lambda: pytest.fail("nothing is changed"),
        stored=lambda: ledger.revision,
        healing=lambda: False,
        subject="connector orders",
    )
    with pytest.raises(Refused, match=says):
        commands.ask(action, ["public.t"], commands.obey)
