"""The YAML that the documentation shows: each document, and each section of one, is read by the bridge as it stands."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cdc.config import parse
from cdc.settings import Settings

ROOT = Path(__file__).parents[2]

BLOCK = re.compile(r"^```yaml\n(.*?)^```|(?:\A|\n)\n((?:(?: {4}[^\n]*)?\n)+)", re.DOTALL | re.MULTILINE)
"""Between fences, or indented behind an empty line."""

SECTION = re.compile(rf"^({'|'.join(Settings.model_fields)}|tables):", re.MULTILINE)
"""What begins such YAML; `tables` is a connector's."""

AROUND: dict[str, Any] = {
    "name": "shop",
    "kafka": {"bootstrap_servers": "localhost:9092"},
    "schema_registry": {"url": "http://localhost:8081"},
    "databases": {"warehouse": {"url": "postgresql://cdc@dwh/warehouse"}, "billing": {"url": "postgresql://b@db/b"}},
    "connectors": {"warehouse": {"type": "postgres_wal", "database": "warehouse", "tables": ["*.*"]}},
}
"""What a section leaves out."""


def blocks() -> Iterator[Any]:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text()
        for found in BLOCK.finditer(text):
            block = textwrap.dedent(found[1] or found[2] or "")
            if begin := SECTION.search(block):
                line = text.count("\n", 0, found.start()) + 1
                yield pytest.param(block[begin.start() :], id=f"{page.name}:{line}")


def test_there_are_blocks_to_read() -> None:
    pages = {str(block.id).partition(":")[0] for block in blocks()}
    assert pages >= {"README.md", "settings.md", "formats.md", "sql-poll.md", "transforms.md", "sink-postgres.md"}


@pytest.mark.parametrize("block", [*blocks()])
def test_what_a_page_shows_is_read(block: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    yaml = YAML(typ="safe", pure=True)
    given = yaml.load(re.sub(r"/(?:run/secrets|etc/ssl)/[\w.]+", str(secret), block))
    if "tables" in given:
        given = {"connectors": {"warehouse": {"type": "postgres_wal", "database": "warehouse", **given}}}
    written = io.StringIO()
    yaml.dump({**AROUND, **given}, written)
    whole = parse(written.getvalue(), dict.fromkeys(re.findall(r"\$\{(\w+)\}", block), "x"))
    assert all(getattr(whole, section) for section in given)
