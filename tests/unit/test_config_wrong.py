"""Every wrong configuration gets one clear message: place, key, what is wrong, what would be right; exit code 2."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdc import cli

GOOD = """\
name: shop
kafka:
  bootstrap_servers: localhost:9092
databases:
  warehouse:
    url: postgresql://cdc@localhost/warehouse
  billing:
    url: postgresql://billing@localhost/billing
topics:
  defaults: {partitions: 6}
connectors:
  warehouse:
    type: postgres_wal
    database: warehouse
    tables: [public.orders, "sales.*"]
sinks:
  billing:
    type: postgres
    database: billing
    topics: [shop.public.orders]
"""

SECRET = "hunter2"


@dataclass(frozen=True)
class Wrong:
    """A change to the good YAML, and what must be said of it.

    Args:
        old, new: the text that is replaced.
        line: of the problem.
        path: the key's path.
        says: pieces of the message and its suggestion.
    """

    name: str
    old: str
    new: str
    line: int | None
    path: str
    says: tuple[str, ...]


WRONG = [
    Wrong("Debezium's name", "type: postgres_wal", "type: postgres_wal\n    table.include.list: public.a", 14,
          'connectors.warehouse."table.include.list"', ("is not a setting here", "docs/debezium.md")),
    Wrong("tables as text", '[public.orders, "sales.*"]', "public.orders", 15, "connectors.warehouse.tables",
          ("must be a list, or a section", 'such as tables: [public.orders, "sales.*"]')),
    Wrong("unknown key", "type: postgres_wal", "type: postgres_wal\n    tabels: []", 14, "connectors.warehouse.tabels",
          ("is not a setting here", "did you mean tables?")),
    Wrong("unknown section", "topics:\n", "topcis:\n", 9, "topcis", ("is not a setting here", "did you mean topics?")),
    Wrong("key of another world", "database: billing", "database: billing\n    flush_size: 3", 20,
          "sinks.billing.flush_size", ("is not a setting here", "settings here are", "workers")),
    Wrong("name missing", "name: shop\n", "", 1, "name", ("is missing", "such as name: shop")),
    Wrong("name not fit for topics", "name: shop", "name: My Shop", 1, "name", ("must be of a-z", "such as shop")),
    Wrong("brokers missing", "  bootstrap_servers: localhost:9092", "  properties: {}", 2, "kafka.bootstrap_servers",
          ("is missing", "localhost:9092")),
    Wrong("section that is text", "kafka:\n  bootstrap_servers: localhost:9092", "kafka: localhost:9092", 2, "kafka",
          ("must be a section", "indent")),
    Wrong("whole number", "{partitions: 6}", "{partitions: six}", 10, "topics.defaults.partitions",
          ("must be a whole number", "not 'six'")),
    Wrong("too few", "{partitions: 6}", "{partitions: 0}", 10, "topics.defaults.partitions", ("must be at least 1",)),
    Wrong("one of some words", "{partitions: 6}", "{cleanup_policy: compacted}", 10, "topics.defaults.cleanup_policy",
          ("compact | delete | compact,delete", "did you mean compact?")),
    Wrong("duration", "{partitions: 6}", "{cleanup_policy: delete, retention: 7 days}", 10, "topics.defaults.retention",
          ("a number and one of ms, s, m, h, d, w", "such as 5s")),
    Wrong("size", "{partitions: 6}", "{max_message_bytes: 1 apple}", 10, "topics.defaults.max_message_bytes",
          ("a number and one of B", "such as 16MiB")),
    Wrong("setting without effect", "{partitions: 6}", "{retention: 7d}", 10, "topics.defaults.retention",
          ("has no effect with cleanup_policy compact", "cleanup_policy: delete")),
    Wrong("more in sync than there are", "{partitions: 6}", "{replication_factor: 1, min_insync_replicas: 2}", 10,
          "topics.defaults.min_insync_replicas", ("is more than replication_factor 1",)),
    Wrong("unknown kind", "type: postgres_wal", "type: postgress_wal", 13, "connectors.warehouse.type",
          ("no connector of this kind", "did you mean postgres_wal?")),
    Wrong("no kind", "    type: postgres\n", "", 17, "sinks.billing.type", ("is missing", "installed are postgres")),
    Wrong("unknown database", "database: warehouse", "database: warehous", 14, "connectors.warehouse.database",
          ("there is no database warehous", "did you mean warehouse?")),
    Wrong("topic nobody fills", "[shop.public.orders]", "\n      - shop.public.orders\n      - shop.public.ordres", 22,
          "sinks.billing.topics.1", ("no connector captures shop.public.ordres", "did you mean shop.public.orders?")),
    Wrong("table without schema", "[public.orders,", "[public.orders, customers,", 15,
          "connectors.warehouse.tables.customers", ("must be schema.table", "public.customers")),
    Wrong("expression that is none", '"sales.*"', '"/sales.(/"', 15, 'connectors.warehouse.tables."/sales.(/"',
          ("is no regular expression: missing ), unterminated subpattern",)),
    Wrong("expression for a sink", "[shop.public.orders]", "[/shop.*/]", 20, "sinks.billing.topics.0",
          ("is a regular expression", "a pattern with * and ?")),
    Wrong("messages for a sink", "[shop.public.orders]", "[shop.message]", 20, "sinks.billing.topics.0",
          ("no connector captures shop.message", "hold no rows")),
    Wrong("no tables", '[public.orders, "sales.*"]', "[]", 15, "connectors.warehouse.tables", ("must not be empty",)),
    Wrong("mask without key", "[public.orders,", "[public.orders: {mask: {email: hmac}},", 15,
          'connectors.warehouse.tables."public.orders".mask.email', ("needs a key", "mask_key_file")),
    Wrong("key column left out", "[public.orders,",
          "[public.orders: {message_key: [id], columns: {exclude: [id]}},", 15,
          'connectors.warehouse.tables."public.orders".message_key', ("holds id", "columns.exclude")),
    Wrong("include and exclude", "[public.orders,", "[public.orders: {columns: {include: [a], exclude: [b]}},", 15,
          'connectors.warehouse.tables."public.orders".columns', ("include or exclude, not both",)),
    Wrong("column's expression", "[public.orders,", '[public.orders: {mask: {"/(/": {asterisks: 3}}},', 15,
          'connectors.warehouse.tables."public.orders".mask', ("/(/ is no regular expression",)),
    Wrong("nothing to mark in", "type: postgres_wal",
          "type: postgres_wal\n    cdc_member: false\n    unchanged: mark", 15, "connectors.warehouse.unchanged",
          ("told in the member cdc", "unchanged: reselect")),
    Wrong("nothing to mark in, of one table", '[public.orders, "sales.*"]',
          '[public.orders: {unchanged: mark}, "sales.*"]\n    cdc_member: false', 15,
          'connectors.warehouse.tables."public.orders".unchanged', ("told in the member cdc",)),
    Wrong("unknown mask", "[public.orders,", "[public.orders: {mask: {email: md5}},", 15,
          'connectors.warehouse.tables."public.orders".mask.email', ("must be hmac", "not 'md5'")),
    Wrong("slot name", "type: postgres_wal", "type: postgres_wal\n    slot: My-Slot", 14, "connectors.warehouse.slot",
          ("must look like", "not 'My-Slot'")),
    Wrong("one slot for two", "sinks:\n", '  second:\n    {type: postgres_wal, database: warehouse, tables: ["hr.*"],'
          " slot: cdc_shop_warehouse}\nsinks:\n", 17, "connectors.second.slot",
          ("cdc_shop_warehouse belongs to connector warehouse", "another name")),
    Wrong("one table for two", "sinks:\n",
          "  second:\n    {type: postgres_wal, database: warehouse, tables: [public.orders]}\nsinks:\n", 17,
          'connectors.second.tables."public.orders"', ("captured by connector warehouse too",)),
    Wrong("topics that collide", '"sales.*"', "public.order_lines, public.order lines", 15,
          'connectors.warehouse.tables."public.order lines"', ("topic shop.public.order_lines would belong to",)),
    Wrong("one of the bridge's own topics", '"sales.*"', "cdc.offsets", 15,
          'connectors.warehouse.tables."cdc.offsets"', ("the bridge's own topic shop.cdc.offsets",)),
    Wrong("name not fit for a group", "sinks:\n  billing:", "sinks:\n  Billing Team:", 17, "sinks.Billing Team",
          ("its name must be of a-z",)),
    Wrong("property that loads code", "bootstrap_servers: localhost:9092",
          "bootstrap_servers: localhost:9092\n  properties: {plugin.library.paths: evil}", 4,
          'kafka.properties."plugin.library.paths"', ("is not a property that may be set here", "docs/settings.md")),
    Wrong("property of the bridge", "bootstrap_servers: localhost:9092",
          "bootstrap_servers: localhost:9092\n  properties: {isolation.level: read_uncommitted}", 4,
          'kafka.properties."isolation.level"', ("set by the bridge itself", "remove it")),
    Wrong("secret among the properties", "bootstrap_servers: localhost:9092",
          f"bootstrap_servers: localhost:9092\n  properties: {{sasl.password: {SECRET}}}", 4,
          'kafka.properties."sasl.password"', ("use kafka.sasl_password_file",)),
    Wrong("login that would not be used", "bootstrap_servers: localhost:9092",
          "bootstrap_servers: localhost:9092\n  properties: {sasl.username: cdc}", 4,
          'kafka.properties."sasl.username"', ("no use with security.protocol PLAINTEXT", "SASL_SSL")),
    Wrong("another database", "postgresql://cdc@", f"mysql://cdc:{SECRET}@", 6, "databases.warehouse.url",
          ("must begin with postgresql://",)),
    Wrong("parameter that changes the session", "postgresql://cdc@localhost/warehouse",
          "postgresql://cdc@localhost/warehouse\n    parameters: {options: -c search_path=x}", 7,
          "databases.warehouse.parameters.options", ("is not a parameter that may be set here", "possible are")),
    Wrong("parameter hidden in the URL", "postgresql://cdc@localhost/warehouse",
          f"postgresql://cdc:{SECRET}@localhost/warehouse?service=x", 6, "databases.warehouse.url",
          ("holds service",)),
    Wrong("URL that is none", "postgresql://cdc@localhost/warehouse", f"postgresql://cdc:{SECRET}%zz@[h/w", 6,
          "databases.warehouse.url", ("is not a URL that libpq can read", "%40")),
    Wrong("two passwords", "postgresql://cdc@localhost/warehouse",
          f"postgresql://cdc@localhost/warehouse\n    password: {SECRET}\n    password_command: echo x", 8,
          "databases.warehouse.password_command", ("one too many beside password",)),
    Wrong("secret file that is not there", "postgresql://cdc@localhost/warehouse",
          "postgresql://cdc@localhost/warehouse\n    password_file: nowhere", 7, "databases.warehouse.password_file",
          ("nowhere cannot be read: No such file", "relative to the YAML's folder")),
    Wrong("certificate that is not there", "postgresql://cdc@localhost/warehouse",
          "postgresql://cdc@localhost/warehouse\n    parameters: {sslrootcert: ca.pem}", 7,
          "databases.warehouse.parameters.sslrootcert", ("there is no file", "ca.pem")),
    Wrong("address for everyone", "sinks:\n", "server: {listen: 0.0.0.0:8083}\nsinks:\n", 16, "server.listen",
          ("must be a loopback address", "such as 127.0.0.1:8083")),
    Wrong("variable that is not set", "localhost:9092", "${NO_SUCH_VARIABLE}", 3, "kafka.bootstrap_servers",
          ("NO_SUCH_VARIABLE is not set", "${NO_SUCH_VARIABLE:-")),
    Wrong("variable without an end", "localhost:9092", "${BROKER", 3, "kafka.bootstrap_servers", ("$${",)),
    Wrong("twice in one file", "sinks:\n", "name: again\nsinks:\n", 16, "name", ("given twice, first in line 1",)),
    Wrong("tab", "  bootstrap_servers", "\tbootstrap_servers", 3, "", ("is not YAML", "spaces, not tabs")),
    Wrong("pattern without quotes", '"sales.*"', "*.orders", 15, "", ("is not YAML", "put quotes around")),
    Wrong("messages on a compacted topic", '"sales.*"', "{public.box: {outbox: {}}}", 15,
          'connectors.warehouse.tables."public.box".outbox',
          ("outbox.event.* is compacted", "cleanup_policy: delete")),
    Wrong("a truncate that is routed by rows", "[public.orders,",
          "[{public.orders: {truncates: fan_out, transforms: [{route: {field: id, topic: x}}]}},", 15,
          'connectors.warehouse.tables."public.orders".truncates', ("a truncate has none", "truncates: skip")),
    Wrong("transforms of an outbox", '"sales.*"', "{public.box: {outbox: {topic: shop.x}, transforms: [{drop: [a]}]}}",
          15,
          'connectors.warehouse.tables."public.box".transforms', ("no effect on an outbox",)),
    Wrong("a topic of what nobody knows", '"sales.*"', "{public.c: {topic: 'x.{shard}'}}", 15,
          'connectors.warehouse.tables."public.c".topic', ("{shard}, which is none of name, schema, table",)),
    Wrong("a truncate for all shards", '"sales.*"', '{"sales.*": {topic: shop.sales.all, truncates: fan_out}}', 15,
          'connectors.warehouse.tables."sales.*".truncates', ("all that share its topic", "truncates: skip")),
    Wrong("one topic, two ways", '"sales.*"',
          '{public.a: {topic: x, transforms: [{drop: [a]}]}}, {public.b: {topic: x, transforms: [{drop: [a]}]}}, '
          "{public.c: {topic: x}}", 15,
          'connectors.warehouse.tables."public.c".topic', ("is that of public.a too",)),
    Wrong("a filter for all tables", '[public.orders, "sales.*"]',
          "[{public.orders: {where: id > 1}}]\n    publication_tables: all", 15,
          'connectors.warehouse.tables."public.orders".where', ("is a row filter", "publication_tables: captured")),
    Wrong("heartbeats without a pause", "type: postgres_wal", "type: postgres_wal\n    heartbeat: {interval: 0s}", 14,
          "connectors.warehouse.heartbeat.interval", ("must be more than 0",)),
    Wrong("readers that wait for each other", "type: postgres_wal",
          "type: postgres_wal\n    snapshot_markers: true\n    snapshot_readers: 2", 15,
          "connectors.warehouse.snapshot_readers", ("no effect with snapshot_markers",)),
    Wrong("tables of no snapshot", "type: postgres_wal",
          "type: postgres_wal\n    snapshot: never\n    snapshot_tables: [public.orders]", 15,
          "connectors.warehouse.snapshot_tables", ("no effect with snapshot: never",)),
    Wrong("truncates that are skipped", "type: postgres_wal",
          "type: postgres_wal\n    skipped_operations: [t]\n    truncates: fan_out", 15,
          "connectors.warehouse.truncates", ("no effect", "skipped_operations has t")),
    Wrong("a table's truncates that are skipped", '"sales.*"]',
          "{public.c: {truncates: fan_out}}]\n    skipped_operations: [t]", 15,
          'connectors.warehouse.tables."public.c".truncates', ("no effect", "skipped_operations has t")),
    Wrong("a filter that Debezium did not have", '[public.orders, "sales.*"]',
          "[{public.orders: {where: id > 1}}]\n    start_from: {lsn: 1}", 15,
          'connectors.warehouse.tables."public.orders".where', ("is a row filter", "when start_from is gone")),
    Wrong("tag", "localhost:9092", "!!python/object/apply:os.system [id]", 3, "kafka.bootstrap_servers",
          ("tags are not taken here",)),
]  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cdc", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_a_wrong_configuration_is_explained(
    wrong: Wrong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert GOOD.count(wrong.old) >= 1
    file = tmp_path / "cdc.yaml"
    file.write_text(GOOD.replace(wrong.old, wrong.new, 1))
    assert run(monkeypatch, "check", "--config", str(file)) == 2
    said = capsys.readouterr()
    text = said.out + said.err
    place = f"{file}:{wrong.line}: {wrong.path}: " if wrong.path else f"{file}:{wrong.line}: "
    assert place in text
    for piece in wrong.says:
        assert piece in text
    assert len(re.findall(rf"^(?:error: )?{re.escape(str(file))}", text, re.MULTILINE)) == 1, "one problem, said once"
    assert "Traceback" not in text
    assert "pydantic" not in text
    assert SECRET not in text


def test_all_problems_are_shown_together_in_the_order_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cdc.yaml"
    text = GOOD.replace("partitions: 6", "partitions: six").replace("database: billing", "database: biling")
    file.write_text(text.replace("localhost:9092", "${NOT_SET_HERE}").replace("[shop.public.orders]", "[shop.x]"))
    assert run(monkeypatch, "run", "--config", str(file)) == 2
    lines = [int(line) for line in re.findall(r"cdc\.yaml:(\d+):", capsys.readouterr().err)]
    assert lines == [3, 10, 19, 20]


@pytest.mark.parametrize("arguments", [("check",), ("run",), ("status",), ("tail", "shop.public.orders")])
def test_settings_that_are_not_there_say_how_to_get_some(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CDC_CONFIG", raising=False)
    assert run(monkeypatch, *arguments) == 2
    said = capsys.readouterr().err
    assert "cdc.yaml: there is no such file or folder" in said
    assert "`cdc init`" in said


def test_a_name_that_is_neither_connector_nor_sink_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cdc.yaml"
    file.write_text(GOOD)
    assert run(monkeypatch, "check", "warehous", "--config", str(file)) == 2
    assert "did you mean warehouse?" in capsys.readouterr().err
