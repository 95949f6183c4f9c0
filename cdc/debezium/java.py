"""Regular expressions and replacements of Java that name topics → expressions and topics of our tables. Pure.

Debezium and Kafka Connect route by topics, `{prefix}.{schema}.{table}`; entries of ours are `{schema}.{table}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cdc.debezium.values import BadValue

_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?<\w+>|\(\?|.", re.DOTALL)
"""Of an expression: what is escaped, a class, where a group begins that has a name, where none does, the rest."""

MANY_WORDS = 100
SOME_WORDS = 12
"""What names of tables are tried with; see `samples`."""

_DOTLESS = r"(?:\[\^\\*\.\]|\\w)[+*]"


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression that has to match all of a text, as Java's `Matcher.matches` has it.

    Args:
        text: without names of groups.
        names: of its groups, in order; None for those without.
    """

    text: str
    names: tuple[str | None, ...]

    @classmethod
    def read(cls, text: str) -> Expression:
        """Raises: BadValue: it is none, or has forms that Python reads in another way."""
        if found := re.search(r"\\[QEpPkXRhHvVzG\d]|\[[^\]]*(?:\[|&&)|[*+?}]\+|\(\?[>a-z-]+[:)>]", text):
            raise BadValue(f"{text} has {found[0]}, which is not understood here")
        names: list[str | None] = []
        plain = []
        for part in _PARTS.findall(text):
            if part.startswith("(?<") or part == "(":
                names.append(part[3:-1] or None)
                part = "("
            plain.append(part)
        expression = cls("".join(plain), tuple(names))
        try:
            re.compile(expression.text)
        except re.error as error:
            raise BadValue(f"{text} is no regular expression: {error.msg}") from None
        return expression

    def named(self, names: Sequence[str | None]) -> str:
        """With these names for its groups; those without hold nothing."""
        parts = _PARTS.findall(self.text)
        opened = iter([f"(?P<{name}>" if name else "(?:" for name in names])
        return "".join(next(opened) if part == "(" else part for part in parts).removeprefix("(?:)")

    def groups(self, text: str) -> tuple[str, ...] | None:
        """What its groups hold of a text; None where it does not match."""
        found = re.fullmatch(self.text, text, re.ASCII)
        return None if found is None else tuple(group or "" for group in found.groups())


def replacement(text: str, expression: Expression) -> list[str | int]:
    """A replacement of Java's: text, and numbers of groups.

    Raises: BadValue: a group that is not there, or text that our topics have no place for.
    """
    parts: list[str | int] = []
    for part in re.findall(r"\\.|\$\d+|\$\{\w+\}|.", text, re.DOTALL):
        if part.startswith("$") and len(part) > 1:
            name = part.strip("${}")
            if name.isdigit():
                # Java takes as many digits as there are groups.
                number = next(
                    (name[:end] for end in range(len(name), 0, -1) if int(name[:end]) <= len(expression.names)), ""
                )
                if not number:
                    raise BadValue(f"{text} names a group that is not there")
                parts += [int(number), *name[len(number) :]]
            elif name in expression.names:
                parts.append(expression.names.index(name) + 1)
            else:
                raise BadValue(f"{text} names a group that is not there")
        else:
            character = part.removeprefix("\\") if len(part) > 1 else part
            if character in "{}$":
                raise BadValue(f"{text} has {character}")
            parts.append(character)
    return parts


@dataclass(frozen=True, slots=True)
class OfTables:
    """What an expression of topics says of tables.

    Args:
        expression: of "schema.table".
        ahead: the group that holds what stands before that, and what it is: `{name}`, or `{name}.` with the group's
            own text behind it; 0: none does.
    """

    expression: Expression
    ahead: tuple[int, str] = (0, "")

    def named(self, prefix: str, parts: Sequence[str | int]) -> str:
        """The expression, with a name for each group that a replacement has: the prefix and its number."""
        used = {part for part in parts if isinstance(part, int)} - ({self.ahead[0]} if self._whole else set())
        count = len(self.expression.names)
        return self.expression.named([f"{prefix}{one}" if one in used else None for one in range(1, count + 1)])

    def topic(self, parts: Sequence[str | int], groups: str | Sequence[str]) -> str:
        """A topic of ours: with the names that `named` gave, or with what groups hold."""

        def shown(number: int) -> str:
            ahead = self.ahead[1] if number == self.ahead[0] else ""
            if ahead and self._whole:
                return ahead
            return ahead + (f"{{{groups}{number}}}" if isinstance(groups, str) else groups[number - 1])

        return "".join(part if isinstance(part, str) else shown(part) for part in parts)

    @property
    def _whole(self) -> bool:
        return not self.ahead[1].endswith(".")


def of_tables(
    expression: Expression,
    prefix: str,
    parts: Sequence[str | int],
    words: Sequence[str],
    renamed: Callable[[str], str] = str,
    named: Sequence[str] = (),
) -> OfTables:
    """The same for tables: what comes of names shows whether it is.

    Args:
        expression: of topics.
        prefix: what those of tables begin with, and a dot.
        parts: a replacement; empty where there is none.
        words: that are in tables' names, as `samples` takes them.
        renamed: what became of a topic before this expression is asked.
        named: names of tables that are there for certain.

    Raises: BadValue: it cannot be told from a table's name.
    """
    tables = {table: renamed(f"{prefix}.{table}") for table in (*named, *samples(expression.text, words))}
    for candidate in _candidates(expression, prefix):
        means = [table for table in tables if candidate.expression.groups(table) is not None]
        if means and all(_same(expression, candidate, prefix, parts, *one) for one in tables.items()):
            return candidate
    raise BadValue(f"{expression.text} cannot be told from names of tables: write `topic` for them")


def _candidates(expression: Expression, prefix: str) -> Iterator[OfTables]:
    text, names = expression.text, expression.names
    literal = "".join(rf"(?:\\?{re.escape(character)}|\.)" for character in prefix)
    dot = r"(?:\\\.|\.|\[\.\])(?![*+?{])"
    if found := re.match(literal + dot, text):
        yield OfTables(Expression(text[found.end() :], names))
    if found := re.match(rf"(\()?(?:{literal}|{_DOTLESS}|\.[*+])(?(1)\)){dot}", text):
        # An empty group, so that the others keep their numbers.
        yield OfTables(
            Expression(("()" if found[1] else "") + text[found.end() :], names), (int(bool(found[1])), "{name}")
        )
    if found := re.match(r"(\()?\.[*+](?(1)\))(?![?+])", text):
        rest = text[found.end() :]
        yield OfTables(Expression(("(.*)" if found[1] else ".*") + rest, names), (int(bool(found[1])), "{name}."))


def _same(
    expression: Expression, candidate: OfTables, prefix: str, parts: Sequence[str | int], table: str, topic: str
) -> bool:
    there, here = expression.groups(topic), candidate.expression.groups(table)
    if there is None or here is None:
        return there is here
    wanted = "".join(part if isinstance(part, str) else there[part - 1] for part in parts)
    return candidate.topic(parts, here).replace("{name}", prefix) == wanted


def words_of(text: str) -> list[str]:
    """The words that an expression holds, in order."""
    return re.findall(r"\w+", re.sub(r"\\\w|\(\?P?<\w+>|\(\?-i:", " ", text))


def samples(text: str, words: Iterable[str] = ()) -> Iterator[str]:
    """Names of tables such as an expression may mean: of words that are in it, and of `words`, the telling ones first.

    Always the same ones, and so many at most that it takes no time: of `MANY_WORDS`, of which schemas and what is put
    together have the first `SOME_WORDS`.
    """
    found = list(dict.fromkeys(["a", "orders_1", *words_of(text), *words]))[:MANY_WORDS]
    some = found[:SOME_WORDS]
    tables = dict.fromkeys([*found, *(one + other for one in some for other in some)])
    for schema in dict.fromkeys(["public", "s_2", *some]):
        for table in tables:
            yield from (f"{schema}.{table}", f"{schema}.{table}7", f"{schema}.x{table}", f"{schema}.{table}_b_12")
