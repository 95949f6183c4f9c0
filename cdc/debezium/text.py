"""A document of ours → YAML with comments, to be read and edited. Pure."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from cdc.debezium.draft import Variable
from cdc.debezium.translate import Translation
from cdc.debezium.values import shown

_WIDTH = 110


def text_of(translation: Translation, origin: str) -> str:
    """The YAML.

    Args:
        translation: what became of a connector.
        origin: where that was written.
    """
    comments = [
        f"The Debezium connector of {origin}, taken over by `cdc import-debezium`.",
        "docs/debezium.md says what each setting was. Next: `cdc check --config THIS_FILE`.",
    ]
    if translation.lost:
        comments += ["", "Not taken over:", *(f"  {shown(told.name)}: {told.words}" for told in translation.lost)]
    if translation.remarks:
        comments += ["", "Look at:", *(f"  {remark}" for remark in translation.remarks)]
    yaml = YAML(pure=True)
    yaml.width = _WIDTH
    written = io.StringIO()
    for section, content in translation.document.items():
        written.write("\n")
        yaml.dump({section: _plain(content, {})}, written)
    return "".join(f"# {line}".rstrip() + "\n" for line in comments) + written.getvalue()


def _plain(value: Any, made: dict[int, Any]) -> Any:
    """Data as the dumper takes it; a `$` that begins no variable of ours stays one.

    Args:
        made: by identity: what stands in several places gets an anchor, and aliases.
    """
    if isinstance(value, Variable):
        return str(value)
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, list):
        return [_plain(inner, made) for inner in value]
    if isinstance(value, dict):
        if id(value) not in made:
            made[id(value)] = CommentedMap((_plain(key, made), _plain(inner, made)) for key, inner in value.items())
        return made[id(value)]
    return value
