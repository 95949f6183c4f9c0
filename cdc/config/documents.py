"""YAML text → plain data, with the place of every key. Touches nothing but the text it is given.

The YAML is composed to nodes (YAML 1.2, no tags that make objects) and built here, because
errors must name the line of a key long after it was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from cdc.errors import Problem
from cdc.settings import Path, Place, dotted

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_PLAIN_TAGS = ("str", "int", "float", "bool", "null", "map", "seq", "merge", "timestamp", "value")
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")


@dataclass(slots=True)
class Document:
    """What was read so far.

    Args:
        data: plain mappings, lists and scalars.
        places: where each key (and list entry) was written. An entry of a list that is text, or a
            mapping with one key, is known by that text too: `tables: [public.orders]`.
        problems: what is wrong, in the order of the text.
        readable: whether it was YAML at all.
        substituted: paths whose text came from a variable; it may be a secret.
    """

    data: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, Place] = field(default_factory=dict)
    substituted: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    readable: bool = True

    def problem(self, path: Path, message: str, suggestion: str | None = None) -> None:
        """Note a problem at `path`, or at the nearest section around it."""
        where = path
        while where and where not in self.places:
            where = where[:-1]
        place = self.places.get(where, Place(""))
        self.problems.append(Problem(message, dotted(path), place.file, place.line, suggestion))

    def at(self, path: Path) -> Any:
        """What is written at `path`; None if nothing is."""
        here: Any = self.data
        for key in path:
            if isinstance(here, list) and isinstance(key, str):
                here = _entry_known_as(here, key)
                continue
            try:
                here = here[key]
            except (KeyError, IndexError, TypeError):
                return None
        return here


def read(text: str, file: str, environ: Mapping[str, str]) -> Document:
    """Read one YAML file's text; `${VAR}` is taken from `environ`."""
    document = Document()
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except YAMLError as error:
        document.problems.append(_syntax(error, text, file))
        document.readable = False
        return document
    document.places[()] = Place(file, 1)
    if root is None:
        return document
    if not isinstance(root, MappingNode):
        document.readable = False
        document.problem((), "must be a mapping of settings", "such as name: shop")
        return document
    document.data = _Builder(document, file, environ).mapping(root, ())
    return document


def _entry_known_as(entries: list[Any], name: str) -> Any:
    for entry in entries:
        if entry == name:
            return entry
        if isinstance(entry, dict) and next(iter(entry), None) == name:
            return entry[name]
    return None


def merge(documents: list[Document]) -> Document:
    """Several files as one. A value that is given twice is a problem that names both places."""
    whole = Document()
    if len(documents) > 1:
        whole.places[()] = Place(", ".join(d.places[()].file for d in documents))
    for document in documents:
        whole.problems += document.problems
        whole.substituted |= document.substituted
        _merge(whole, document, whole.data, document.data, ())
        whole.places = {**document.places, **whole.places}
    return whole


def substitute(text: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Put variables into a text: `${VAR}`, `${VAR:-default}`; `$${` stands for `${`.

    Returns:
        The text, and the names of variables that are not set ("" for a `${` that does not end).
    """
    missing: list[str] = []

    def value(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        name, default = found[1], found[2]
        if name is None:
            missing.append("")
            return ""
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            missing.append(name)
        return environ.get(name, "")

    return _VARIABLE.sub(value, text), missing


class _Builder:
    """Builds plain data from nodes, for one file."""

    def __init__(self, document: Document, file: str, environ: Mapping[str, str]) -> None:
        self._document = document
        self._file = file
        self._environ = environ
        self._open: set[int] = set()

    def mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in self._pairs(node, path):
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else "?"
            line = key_node.start_mark.line + 1
            inner = (*path, key)
            if key in lines:
                first = Place(self._file, lines[key])
                self._problem(inner, line, f"is given twice, first in line {first.line}", "remove one of them")
                continue
            lines[key] = line
            self._document.places[inner] = Place(self._file, line)
            data[key] = self.value(value_node, inner)
        return data

    def value(self, node: Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        if id(node) in self._open:
            self._problem(path, line, "holds itself", "remove the alias")
            return None
        if str(node.tag).rpartition(":")[2] not in _PLAIN_TAGS:
            self._problem(path, line, "has a YAML tag; tags are not taken here", "remove the !tag")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            if isinstance(node, SequenceNode):
                return [self._entry(entry, (*path, number)) for number, entry in enumerate(node.value)]
            return self._scalar(node, path, line)
        finally:
            self._open.discard(id(node))

    def _pairs(self, node: MappingNode, path: Path) -> Iterator[tuple[Node, Node]]:
        own = [(k, v) for k, v in node.value if not str(k.tag).endswith(":merge")]
        yield from own
        given = {k.value for k, _ in own}
        for key, merged in node.value:
            if not str(key.tag).endswith(":merge"):
                continue
            for source in merged.value if isinstance(merged, SequenceNode) else [merged]:
                if not isinstance(source, MappingNode) or source is node:
                    self._problem(path, key.start_mark.line + 1, "<< takes a mapping", "such as <<: *defaults")
                    continue
                for inner_key, inner_value in source.value:
                    if inner_key.value not in given:
                        given.add(inner_key.value)
                        yield inner_key, inner_value

    def _entry(self, node: Node, path: Path) -> Any:
        place = Place(self._file, node.start_mark.line + 1)
        self._document.places[path] = place
        value = self.value(node, path)
        known_as = value if isinstance(value, str) else next(iter(value)) if isinstance(value, dict) and value else None
        if known_as is not None:
            named = (*path[:-1], known_as)
            self._document.places.setdefault(named, place)
            if isinstance(value, dict):
                inner = (*path, known_as)
                for p, found in list(self._document.places.items()):
                    if p[: len(inner)] == inner and len(p) > len(inner):
                        self._document.places.setdefault((*named, *p[len(inner) :]), found)
        return value

    def _scalar(self, node: Node, path: Path, line: int) -> Any:
        text = str(node.value)
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return text.lower() == "true"
        if node.tag == _INT:
            return int(text.replace("_", ""), 0 if re.match(r"[-+]?0[xob]", text) else 10)
        if node.tag == _FLOAT:
            return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
        found, missing = substitute(text, self._environ)
        for name in missing:
            if name:
                suggestion = f"set it, or give a default: ${{{name}:-…}}"
                self._problem(path, line, f"the environment variable {name} is not set", suggestion)
            else:
                self._problem(path, line, "holds ${ without a name and }", "write ${NAME}, or $${ for ${ itself")
        if found != text:
            self._document.substituted.add(path)
        return found

    def _problem(self, path: Path, line: int, message: str, suggestion: str) -> None:
        self._document.problems.append(Problem(message, dotted(path), self._file, line, suggestion))


def _merge(whole: Document, document: Document, into: dict[str, Any], data: dict[str, Any], path: Path) -> None:
    for key, value in data.items():
        inner = (*path, key)
        if key not in into:
            into[key] = value
        elif isinstance(into[key], dict) and isinstance(value, dict):
            _merge(whole, document, into[key], value, inner)
        else:
            first, second = whole.places[inner], document.places[inner]
            message = f"is given twice, first in {first.file}:{first.line}"
            problem = Problem(message, dotted(inner), second.file, second.line, "remove one of them")
            whole.problems.append(problem)


def _syntax(error: YAMLError, text: str, file: str) -> Problem:
    if not isinstance(error, MarkedYAMLError):
        return Problem(f"is not YAML: {str(error).splitlines()[0]}", file=file)
    mark = error.problem_mark or error.context_mark
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    said = str(error.problem or error.context or "cannot be read")
    suggestion = "check the indentation and the quotes around this line"
    if r"\t" in said:
        suggestion = "indent with spaces, not tabs"
    elif "${" in line:
        suggestion = 'put quotes around "${…}" inside { } and [ ]'
    elif "alias" in said:
        suggestion = 'put quotes around text that begins with *, such as "*.orders"'
    elif "mapping values are not allowed" in said:
        suggestion = "put quotes around text that holds ': ', and indent keys of one section alike"
    return Problem(f"is not YAML: {said}", file=file, line=mark.line + 1 if mark else None, suggestion=suggestion)
