"""`cdc dead-letters`: events that a sink's target refused: list, show, retry, discard. Touches their topic."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdc import logs
from cdc.commands.options import Config, Json
from cdc.config import load
from cdc.dead_letter_topic import DeadLetterTopic
from cdc.dead_letters import Letter, LetterId, Mark, Marked, folded, mark_headers, read
from cdc.errors import CdcError, ConfigError, Problem
from cdc.formats.contract import Reader, all_readers
from cdc.formats.documents import event_of, key_of, value_of
from cdc.formats.payload import payload_of
from cdc.settings import Settings
from cdc.sink import Event

OUTCOME_SECONDS: Final = 60.0
"""How long `retry` waits for the sink's answers: a member that dies in the middle has come back by then."""

_BY: Final = "command"

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="topic/partition/offset, as `list` shows it.")]
One = Annotated[str, typer.Argument(metavar="ID", help="topic/partition/offset, as `list` shows it.")]
Sink = Annotated[str | None, typer.Option("--sink", metavar="NAME", help="Only this sink's.")]
All = Annotated[bool, typer.Option("--all", help="All that are open (of the sink, with --sink).")]
Values = Annotated[bool, typer.Option("--values", help="Show the row's values too.")]

_Known = tuple[str, LetterId]

app = typer.Typer(no_args_is_help=True, help="Events that a sink's target refused: list, show, retry, discard.")


@dataclass(frozen=True, slots=True)
class Open:
    """An open letter, and the names of its key's columns."""

    letter: Letter
    key: tuple[str, ...]

    @property
    def name(self) -> _Known:
        return self.letter.sink, self.letter.id

    @property
    def state(self) -> str:
        letter = self.letter
        if letter.overtaken:
            return "overtaken"
        return "asked" if letter.asked else "waiting" if letter.waiting else "refused"


@app.command(name="list")
def list_(config: Config = None, sink: Sink = None, as_json: Json = False) -> None:
    """List what is open: refused, waiting (for an earlier event of its key), asked (to be retried) or overtaken."""
    logs.configure()
    with closing(DeadLetterTopic(load(config))) as topic:
        found = [each for each in _open(topic).values() if sink in (None, each.letter.sink)]
    if as_json:
        typer.echo(orjson.dumps([_document(each) for each in found], option=orjson.OPT_INDENT_2).decode())
    elif not found:
        typer.echo("no dead letters are open")
    else:
        Console(soft_wrap=True).print(_table(found))


@app.command()
def show(id: One, config: Config = None, sink: Sink = None, values: Values = False, as_json: Json = False) -> None:
    """Show what is known of one, without the row's values unless they are asked for."""
    logs.configure()
    with closing(DeadLetterTopic(load(config))) as topic:
        (chosen,) = _chosen(_open(topic), [id], sink)
        record = next(iter(topic.read(chosen.letter.offset, chosen.letter.offset + 1)), None)
    document = {**_document(chosen), **(_event(record, values, all_readers(topic.settings)) if record else {})}
    if as_json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    for name, value in document.items():
        # Escaped: a value could hold what a terminal obeys.
        shown = value if isinstance(value, str) and value.isprintable() else json.dumps(value)
        typer.echo(f"{name:12} {shown}")


@app.command()
def retry(ids: Ids = None, config: Config = None, sink: Sink = None, everything: All = False) -> None:
    """Have the sink apply them again, and tell how it went.

    Nothing newer is overwritten: one whose key has a later event in the target is not applied.
    Exit code 1: not all of them are applied by now.
    """
    logs.configure()
    settings = load(config)
    with closing(DeadLetterTopic(settings)) as topic:
        known = _open(topic)
        chosen = _chosen(known, ids or [], sink, everything=everything)
        heads = _heads(known.values())
        asked = [each for each in chosen if _may_be_asked(settings, each)]
        left = {each.name: each.name for each in asked}
        for each in chosen:
            if each.letter.waiting and not each.letter.overtaken:
                head = heads[each.letter.sink, each.letter.id.topic, each.letter.key]
                if head in left:
                    left[each.name] = head
                else:
                    typer.echo(f"{each.letter.id}: {each.letter.reason}; retry or discard that, and it follows")
        end = topic.end()
        for each in asked:
            topic.put(mark_headers(each.letter.sink, each.letter.id, Mark.ASKED, _BY))
        topic.flush()
        applied = sum(_told(mark) for mark in _outcomes(topic, end, left))
    for name, id in sorted(left):
        typer.echo(f"{id}: asked for; sink {name} does it when it runs")
    raise typer.Exit(0 if applied == len(chosen) else 1)


@app.command()
def discard(ids: Ids = None, config: Config = None, sink: Sink = None, everything: All = False) -> None:
    """Settle them without applying them. What waits behind one goes on."""
    logs.configure()
    with closing(DeadLetterTopic(load(config))) as topic:
        chosen = _chosen(_open(topic), ids or [], sink, everything=everything)
        for each in chosen:
            topic.put(mark_headers(each.letter.sink, each.letter.id, Mark.DISCARDED, _BY))
        topic.flush()
    for each in chosen:
        typer.echo(f"{each.letter.id}: discarded")


def _open(topic: DeadLetterTopic) -> dict[_Known, Open]:
    """Everything that is open, in the order in which it was put aside."""
    letters: dict[_Known, Letter] = {}
    keys: dict[_Known, tuple[str, ...]] = {}
    readers = all_readers(topic.settings)
    for record in topic.read(0, topic.end()):
        found = read(record)
        if found is None:
            continue
        name = found.sink, found.id
        letter = folded(letters, found)
        if letter is None:
            letters.pop(name, None)
            keys.pop(name, None)
            continue
        letters[name] = letter
        if isinstance(found, Letter):
            keys[name] = tuple(_names(record.key, readers))
    return {name: Open(letter, keys[name]) for name, letter in letters.items()}


def _chosen(known: dict[_Known, Open], ids: Sequence[str], sink: str | None, *, everything: bool = False) -> list[Open]:
    if everything == bool(ids):
        raise typer.BadParameter("name some, or all of them by --all", param_hint="ID")
    if everything:
        return [each for each in known.values() if sink in (None, each.letter.sink)]
    return [_find(known, text, sink) for text in dict.fromkeys(ids)]


def _find(known: dict[_Known, Open], text: str, sink: str | None) -> Open:
    try:
        id = LetterId.parse(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no topic/partition/offset", param_hint="ID") from None
    found = [each for (name, known_id), each in known.items() if known_id == id and sink in (None, name)]
    if not found:
        raise CdcError(f"no dead letter {text} is open", hint="`cdc dead-letters list` shows those that are")
    if len(found) > 1:
        names = ", ".join(each.letter.sink for each in found)
        raise CdcError(f"dead letter {text} is open for sinks {names}", hint="choose one by --sink")
    return found[0]


def _may_be_asked(settings: Settings, chosen: Open) -> bool:
    """Whether there is any use in asking; else it is said why not.

    Raises:
        ConfigError: its sink is none of ours, or puts nothing aside any more.
    """
    letter = chosen.letter
    section = settings.sinks.get(letter.sink)
    if section is None or section.on_refused != "dead_letter":
        what = "is no sink of these settings" if section is None else "does not look for them: on_refused is stop"
        raise ConfigError([Problem(f"{what}, so nobody would retry {letter.id}", f"sinks.{letter.sink}")])
    if letter.overtaken:
        typer.echo(f"{letter.id}: not retried ({letter.reason}); discard it")
    return not letter.overtaken and not letter.waiting


def _heads(letters: Iterable[Open]) -> dict[tuple[str, str, bytes | None], _Known]:
    """The letter that is applied first, of each sink, topic and key: what waits, waits for it."""
    heads: dict[tuple[str, str, bytes | None], _Known] = {}
    for each in letters:
        letter = each.letter
        if not letter.overtaken:
            key = letter.sink, letter.id.topic, letter.key
            heads[key] = min(heads.get(key, each.name), each.name)
    return heads


def _outcomes(topic: DeadLetterTopic, start: int, left: dict[_Known, _Known]) -> Iterator[Marked]:
    """What becomes of those that were asked for, as it comes.

    Args:
        topic: where they are.
        start: offset of the first record that may tell.
        left: those that are waited for, and the one that each waits for (mostly itself); what was told is taken out,
            and what waits behind one that is refused again.
    """
    deadline = time.monotonic() + OUTCOME_SECONDS
    while left and time.monotonic() < deadline:
        end = topic.end()
        for record in topic.read(start, end):
            found = read(record)
            if not isinstance(found, Marked) or found.mark is Mark.ASKED or (found.sink, found.id) not in left:
                continue
            name = found.sink, found.id
            del left[name]
            yield found
            if found.mark is Mark.REFUSED:
                for behind in [each for each, head in left.items() if head == name]:
                    typer.echo(f"{behind[1]}: waits for {name[1]}")
                    del left[behind]
        start = max(start, end)
        time.sleep(0.2)


def _told(marked: Marked) -> bool:
    """Say what became of one; whether it is applied."""
    words = {Mark.APPLIED: "applied", Mark.REFUSED: f"refused again: {marked.reason}", Mark.DISCARDED: "discarded"}
    typer.echo(f"{marked.id}: {words.get(marked.mark, f'{marked.mark}: {marked.reason}')}")
    return marked.mark is Mark.APPLIED


def _table(found: Sequence[Open]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("id", "sink", "state", "why", "since", "key"):
        table.add_column(heading, overflow="fold")
    for each in found:
        letter = each.letter
        cells = (str(letter.id), letter.sink, each.state, letter.reason, letter.at, ", ".join(each.key) or "(none)")
        table.add_row(*map(Text, cells))
    return table


def _document(found: Open) -> dict[str, Any]:
    letter = found.letter
    return {
        "id": str(letter.id),
        "sink": letter.sink,
        "topic": letter.id.topic,
        "partition": letter.id.partition,
        "offset": letter.id.offset,
        "state": found.state,
        "reason": letter.reason,
        "at": letter.at or None,
        "key": list(found.key),
    }


def _event(record: Event, values: bool, readers: Sequence[Reader]) -> dict[str, Any]:
    """The event itself: what it is and which columns it has; their values only if asked for."""
    document = event_of(value_of(record.value, readers), readers)
    change = document if isinstance(document, dict) else {}
    written = datetime.fromtimestamp(record.timestamp / 1000, UTC).isoformat(timespec="milliseconds")
    columns = [list(change[part]) for part in ("after", "before") if isinstance(change.get(part), dict)]
    told = {
        "written": written.replace("+00:00", "Z"),
        "op": str(change.get("op", "tombstone" if record.value is None else "?"))[:9],
        "columns": columns[0] if columns else [],
        "bytes": len(record.value or b""),
    }
    return {**told, "key_values": key_of(record.key, readers), "value": document} if values else told


def _names(key: bytes | None, readers: Sequence[Reader]) -> Iterator[str]:
    document = payload_of(key_of(key, readers))
    if isinstance(document, dict):
        yield from document
