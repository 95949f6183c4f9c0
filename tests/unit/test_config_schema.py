"""`cdc schema` and `cdc init`: what editors and beginners get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from cdc.config import load
from cdc.config.json_schema import json_schema, text_of
from tests.unit.test_config_wrong import GOOD, run

ROOT = Path(__file__).parents[2]
CHECKED_IN = ROOT / "config" / "cdc.schema.json"
STARTER = ROOT / "cdc" / "commands" / "starter.yaml"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def read(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def test_the_schema_checked_in_is_the_one_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert CHECKED_IN.read_text() == text_of(json_schema()), f"run: cdc schema > {CHECKED_IN.relative_to(ROOT)}"


def test_cdc_schema_prints_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "schema") == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


@pytest.mark.parametrize("file", [*sorted((ROOT / "config").glob("*.yaml")), STARTER], ids=lambda file: file.name)
def test_every_yaml_to_copy_fits_the_schema(file: Path, validator: Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(read(file.read_text()))] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tables:", "tabels:"),
        ("type: postgres_wal", "type: postgress_wal"),
        ("partitions: 6", "partitions: six"),
        ("bootstrap_servers: localhost:9092", "bootstrap_servers: a\n  properties: {plugin.library.paths: x}"),
        ("    url: postgresql://cdc@localhost/warehouse\n", "    password: x\n"),
    ],
)
def test_editors_see_mistakes(old: str, new: str, validator: Draft202012Validator) -> None:
    assert list(validator.iter_errors(read(GOOD.replace(old, new, 1))))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("partitions: 6", "partitions: '${PARTITIONS:-6}'"),
        ("url: postgresql://cdc@localhost/warehouse", "url_file: /run/secrets/url"),
        ('[public.orders, "sales.*"]', "{public.orders: {mask: {email: hmac}}, public.x: }"),
        ('[public.orders, "sales.*"]', "[public.orders: {truncate: {note: 5}}]"),
    ],
)
def test_editors_see_no_mistake_where_there_is_none(old: str, new: str, validator: Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(read(GOOD.replace(old, new, 1)))] == []


def test_cdc_init_writes_settings_that_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "init") == 0
    assert "cdc check --config cdc.yaml" in capsys.readouterr().out
    assert load(None, {}).name == "shop"


def test_cdc_init_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    assert run(monkeypatch, "init", str(file)) == 2
    assert file.read_text() == "mine"
    assert "is there already" in capsys.readouterr().err


def test_every_setting_is_described() -> None:
    schema = json_schema()
    for name, model in schema["$defs"].items():
        for key, setting in model["properties"].items():
            assert "description" in setting or "$ref" in setting or key.count("."), f"{name}.{key}"


def test_the_settings_page_names_every_setting() -> None:
    page = "".join((ROOT / "docs" / file).read_text() for file in ("settings.md", "transforms.md"))
    for name, model in json_schema()["$defs"].items():
        for key in model["properties"]:
            assert f"`{key}`" in page, f"{name}.{key} is missing on docs/settings.md"
    for key in json_schema()["$defs"]["KafkaSettings"]["properties"]["properties"]["properties"]:
        assert f"`{key}`" in page
