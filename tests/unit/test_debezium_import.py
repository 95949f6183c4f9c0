"""Settings of a Debezium connector, taken over: what becomes of them, and what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cdc.cli import app
from cdc.config import parse
from cdc.debezium.absent import LACKING, NEEDLESS
from cdc.debezium.offset import start_from
from cdc.debezium.rules import TAKEN
from cdc.debezium.source import read
from cdc.debezium.text import text_of
from cdc.debezium.translate import Translation, translate
from cdc.errors import ConfigError
from cdc.patterns import matching
from cdc.settings import Settings
from cdc.table_settings import Hashed
from connectors.postgres_wal.settings import PostgresWalSettings

PAGE = Path(__file__).parents[2] / "docs" / "debezium.md"

LEAST = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "database.hostname": "db.example.com",
    "database.user": "debezium",
    "database.dbname": "inventory",
    "topic.prefix": "shop",
    "plugin.name": "pgoutput",
    "value.converter.schemas.enable": "false",
}

SECRETS = {"SOURCE_PASSWORD": "hunter2"}


def taken(**config: str) -> Translation:
    """What becomes of a connector with these properties; `__` stands for a dot."""
    return translate("Inventory", {**LEAST, **{name.replace("__", "."): value for name, value in config.items()}})


def settings(translation: Translation) -> Settings:
    """As the bridge reads the YAML that is written."""
    return parse(text_of(translation, "connector.json"), SECRETS)


def connector(**config: str) -> PostgresWalSettings:
    translation = taken(**config)
    assert not translation.wrong
    (section,) = settings(translation).connectors.values()
    assert isinstance(section, PostgresWalSettings)
    return section


def captured(tables: list[str], **config: str) -> list[str]:
    """Those of `tables` that are captured."""
    section = connector(**config)
    return [table for table in tables if matching(section.tables, table)]


def test_the_least_connector_becomes_one_that_reads_all_tables_from_debeziums_slot() -> None:
    whole = settings(taken())
    assert whole.name == "shop"
    assert whole.databases["source"].url.get_secret_value() == "postgresql://debezium@db.example.com:5432/inventory"
    section = connector()
    assert (section.compatibility, section.slot, section.publication) == ("debezium", "debezium", "dbz_publication")
    assert (section.publication_tables, list(section.tables), section.format) == ("all", ["*.*"], "debezium-json")
    assert whole.topic("shop.public.t").cleanup_policy == "delete"


FORMS: dict[str, dict[str, tuple[str, Any]]] = {
    "decimal.handling.mode": {"precise": ("decimal", "precise"), "DOUBLE": ("decimal", "double")},
    "time.precision.mode": {"connect": ("time_precision", "connect"), "isostring": ("time_precision", "isostring")},
    "binary.handling.mode": {"hex": ("binary", "hex"), "base64-url-safe": ("binary", "base64-url-safe")},
    "interval.handling.mode": {"string": ("interval", "string")},
    "hstore.handling.mode": {"map": ("hstore", "map")},
    "money.fraction.digits": {"1": ("money_fraction_digits", 1)},
    "include.unknown.datatypes": {"true": ("unknown_types", "bytes"), "false": ("unknown_types", "skip")},
    "unavailable.value.placeholder": {
        "(gone)": ("unchanged_placeholder", "(gone)"),
        "hex:6e6f6e65": ("unchanged_placeholder", "none"),
    },
    "schema.name.adjustment.mode": {"avro": ("schema_names", "avro")},
    "field.name.adjustment.mode": {"avro_unicode": ("field_names", "avro_unicode")},
    "tombstones.on.delete": {"false": ("tombstones", False)},
    "extended.headers.enabled": {"false": ("context_headers", False)},
    "provide.transaction.metadata": {"true": ("transaction_metadata", True)},
    "publish.via.partition.root": {"true": ("publish_via_root", True)},
    "snapshot.mode": {
        "never": ("snapshot", "never"),
        "no_data": ("snapshot", "never"),
        "initial_only": ("snapshot", "only"),
    },
    "slot.name": {"shop_1": ("slot", "shop_1")},
    "publication.name": {"Shop": ("publication", "Shop")},
    "publication.autocreate.mode": {"filtered": ("publication_tables", "captured"), "disabled": ("create", False)},
    "skipped.operations": {"none": ("truncates", "fan_out"), "c,t": ("skipped_operations", ["c", "t"])},
    "column.propagate.source.type": {".*": ("propagate_source_type", ["/.*/"])},
    "datatype.propagate.source.type": {".*": ("propagate_types", ["/.*/"])},
    "value.converter.schemas.enable": {"true": ("format", "debezium-json-schemas")},
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FORMS.items() for value in values])
def test_a_property_becomes_a_setting(name: str, value: str) -> None:
    setting, expected = FORMS[name][value]
    assert getattr(connector(**{name: value}), setting) == expected


@pytest.mark.parametrize("name", sorted(FORMS.keys() - {"unavailable.value.placeholder", "publication.name"}))
def test_a_value_that_debezium_would_refuse_is_wrong(name: str) -> None:
    assert [told.name for told in taken(**{name: "*?!"}).wrong] == [name]


def test_messages_and_heartbeats_are_taken_over() -> None:
    section = connector(
        message__prefix__include__list="a.*,b", heartbeat__interval__ms="300", topic__heartbeat__prefix="hb"
    )
    assert section.messages is not None
    assert section.messages.include == ["/a.*/", "/b/"]
    assert section.heartbeat is not None
    assert (section.heartbeat.interval, section.heartbeat.topic_prefix) == (0.3, "hb")
    assert connector(heartbeat__interval__ms="0").heartbeat is None
    assert connector(heartbeat__interval__ms="0", topic__heartbeat__prefix="hb").heartbeat is None
    assert connector(topic__heartbeat__prefix="hb").heartbeat is None


TABLES = ["public.orders", "public.Orders", "public.orders_old", "s1.orders", "s1.items", "s2.items"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, TABLES),
        ({"table.include.list": "public.orders, s1\\.i.*"}, ["public.orders", "public.Orders", "s1.items"]),
        ({"table.include.list": ".*orders"}, ["public.orders", "public.Orders", "s1.orders"]),
        ({"table.exclude.list": "public\\..*,s2.items"}, ["s1.orders", "s1.items"]),
        ({"schema.include.list": "s."}, ["s1.orders", "s1.items", "s2.items"]),
        ({"schema.include.list": "s"}, []),
        ({"schema.exclude.list": "public,s2"}, ["s1.orders", "s1.items"]),
        ({"schema.include.list": "s1|s2", "table.exclude.list": ".*\\.items"}, ["s1.orders"]),
        (
            {"schema.exclude.list": "s1", "table.include.list": "s1.orders|public.orders"},
            ["public.orders", "public.Orders"],
        ),
        ({"table.include.list": "s1.[a-z]{1\\,6}"}, ["s1.orders", "s1.items"]),
        ({"table.include.list": "(?i)S1\\.ORDERS,(?i)public.orders"}, ["public.orders", "public.Orders", "s1.orders"]),
        ({"schema.include.list": "(?i)S1", "table.exclude.list": "(?i)s1.items"}, ["s1.orders"]),
    ],
)
def test_lists_of_tables_capture_what_debezium_captures(config: dict[str, str], expected: list[str]) -> None:
    assert captured(TABLES, **config) == expected


def test_tables_that_are_included_keep_their_order() -> None:
    assert list(connector(**{"table.include.list": "public.b,public.a"}).tables) == ["/public.b/", "/public.a/"]


@pytest.mark.parametrize("kind", ["schema", "table", "column"])
def test_lists_that_include_and_exclude_are_wrong_together(kind: str) -> None:
    (told,) = taken(**{f"{kind}.include.list": "a", f"{kind}.exclude.list": "b"}).wrong
    assert f"{kind}.include.list" in told.words


def test_columns_are_chosen_masked_and_truncated_in_every_table() -> None:
    section = connector(
        **{
            "table.include.list": "public.a,public.b",
            "column.exclude.list": "public.a.secret",
            "column.mask.with.5.chars": "public.a.name,.*\\.email",
            "column.truncate.to.20.chars": "public.b.note",
            "message.key.columns": "public.a:x, y;public.b:z",
        }
    )
    for options in section.tables.values():
        assert options.columns.exclude == ["/public.a.secret/"]
        assert list(options.mask) == ["/public.a.name/", "/.*\\.email/"]
        assert options.truncate == {"/public.b.note/": 20}
        assert options.message_key == ["/public.a.x/", "/public.a.y/", "/public.b.z/"]


def test_a_snapshot_reads_some_tables_only() -> None:
    section = connector(**{"table.include.list": "public.[ab]", "snapshot.include.collection.list": "public.b, c"})
    assert section.snapshot_tables == ["/public.b/", "/c/"]
    assert list(section.tables) == ["/public.[ab]/"]
    none = {"snapshot.mode": "no_data", "snapshot.include.collection.list": "public.b"}
    assert connector(**none).snapshot_tables is None


def test_rows_are_marked_before_they_are_read_in_parallel() -> None:
    assert connector(**{"snapshot.max.threads": "8"}).snapshot_markers
    (told,) = taken(**{"snapshot.max.threads": "100"}).remarks
    assert "snapshot_readers: 32" in told
    assert not taken(**{"snapshot.max.threads": "1"}).remarks


OVERRIDE = "snapshot.select.statement.overrides"


def test_a_statement_of_a_snapshot_is_read_instead_of_its_table() -> None:
    statement = "SELECT * FROM public.a WHERE id > 1 ORDER BY id DESC"
    section = connector(**{OVERRIDE: "public.a", f"{OVERRIDE}.public.a": f" {statement}; "})
    assert section.tables["public.a"].snapshot_select == statement
    assert section.tables["*.*"].snapshot_select is None


def test_a_password_is_written_nowhere() -> None:
    translation = taken(database__password="hunter2")
    written = text_of(translation, "connector.json")
    assert "hunter2" not in written + repr(translation)
    password = settings(translation).databases["source"].password
    assert password is not None
    assert password.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("table.include.list", "(?s)public.a"),
        ("column.exclude.list", "public.a.(?i)b"),
        ("message.key.columns", "public.(a:x"),
        ("message.prefix.include.list", "(?i)"),
    ],
)
def test_expressions_that_are_not_understood_here_are_wrong(name: str, value: str) -> None:
    (told,) = taken(**{name: value}).wrong
    assert "regular expression" in told.words


SALTED = "column.mask.hash.v2.SHA-256.with.salt."


def test_a_salt_is_written_nowhere() -> None:
    first, second = "pepper", "more.pepper"
    translation = taken(
        **{
            f"{SALTED}{first}": "public.a.x",
            f"{SALTED}{second}": "public.a.y",
            f"column.mask.hash.MD5.with.salt.{first}": "public.a.z",
            f"column.mask.hash.with.salt.{first}": "unknown",
        }
    )
    written = text_of(translation, "connector.json")
    assert "pepper" not in written + repr(translation)
    assert "column.mask.hash.with.salt.…: it is not known here" in written
    assert "column.mask.hash.v2.SHA-256: the salt is not written down: set MASK_SALT_1" in written
    (section,) = parse(written, SECRETS | translation.salts).connectors.values()
    assert isinstance(section, PostgresWalSettings)
    masks = [mask for options in section.tables.values() for mask in options.mask.values()]
    assert [mask.salt.get_secret_value() for mask in masks if isinstance(mask, Hashed)] == [first, second, first]


@pytest.mark.parametrize("given", [{f"{SALTED}pepper": ","}, {f"{SALTED}pepper": "a.(b"}])
def test_no_error_tells_a_salt(given: dict[str, str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["import-debezium", str(written(tmp_path, **given))])
    assert isinstance(done.exception, ConfigError)
    assert f":11: {SALTED}…: must be regular" in done.exception.message or "no regular expr" in done.exception.message
    assert "pepper" not in done.output + done.exception.message


def test_no_command_tells_a_salt(tmp_path: Path) -> None:
    file = written(tmp_path, **{"column.mask.hash.with.salt.pepper": "public.a.b", f"{SALTED}pepper": "public.a.c"})
    done = CliRunner().invoke(app, ["import-debezium", str(file)])
    assert done.exit_code == 0, done.output
    assert "column.mask.hash.with.salt.…: is not taken over" in done.stderr
    assert "pepper" not in done.output


def test_what_a_configuration_provider_resolves_is_told() -> None:
    (told,) = taken(topic__prefix="${file:/opt/secrets:prefix}", snapshot__mode="initial").wrong[:1]
    assert told.name == "topic.prefix"
    assert not taken(database__password="${file:/opt/secrets:password}").wrong


def test_text_that_looks_like_a_variable_stays_text() -> None:
    assert connector(unavailable__value__placeholder="${x}").unchanged_placeholder == "${x}"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("converters", "isbn", "converters"),
        ("signal.data.collection", "public.signals", "cdc snapshot"),
        ("slot.failover", "true", "FAILOVER"),
        ("frobnicate", "1", "not known"),
    ],
)
def test_what_is_lost_is_told(name: str, value: str, words: str) -> None:
    (told,) = taken(**{name: value}).lost
    assert told.name == name
    assert words in told.words
    assert words in text_of(taken(**{name: value}), "connector.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tasks.max", "1"),
        ("schema.history.internal.kafka.topic", "x"),
        ("slot.failover", "false"),
        ("max.batch.size", "9"),
    ],
)
def test_what_is_not_lost_is_not_told(name: str, value: str) -> None:
    assert not taken(**{name: value}).lost


@pytest.mark.parametrize(
    "value", ["io.apicurio.registry.utils.converter.AvroConverter", "org.apache.kafka.connect.storage.StringConverter"]
)
def test_other_converters_are_wrong(value: str) -> None:
    assert [told.name for told in taken(value__converter=value).wrong] == ["value.converter"]


def test_the_address_may_hold_what_a_configuration_provider_resolves() -> None:
    translation = taken(
        database__user="${file:/opt/secrets:user}", database__port="${env:PORT}", database__dbname="a $x"
    )
    whole = parse(text_of(translation, "connector.json"), {"SOURCE_USER": "u%40x", "SOURCE_PORT": "5433"})
    assert whole.databases["source"].url.get_secret_value() == "postgresql://u%40x@db.example.com:5433/a%20%24x"
    assert "set SOURCE_USER" in "\n".join(translation.remarks)


@pytest.mark.parametrize("port", ["x", "0", "65536"])
def test_a_port_has_to_be_one(port: str) -> None:
    assert [told.name for told in taken(database__port=port).wrong] == ["database.port"]


def test_names_of_debezium_1_are_taken_for_those_of_today() -> None:
    given = {name: value for name, value in LEAST.items() if name != "topic.prefix"}
    translation = translate("x", {**given, "database.server.name": "old", "table.whitelist": "public.a"})
    assert not translation.wrong
    found = settings(translation)
    assert (found.name, *found.connectors["x"].tables) == ("old", "/public.a/")
    assert "database.server.name is of Debezium 1: it is topic.prefix now" in translation.remarks


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    (told,) = taken(table__include__lists="public.a").lost
    assert told.words.endswith("did you mean table.include.list?")


def test_properties_of_ones_own_converter_are_told_with_it() -> None:
    assert [told.name for told in taken(converters="isbn", isbn__type="x.Isbn").lost] == ["converters"]


def test_of_a_connector_of_another_kind_that_alone_is_told() -> None:
    (told,) = translate("x", {"connector.class": "io.debezium.connector.mysql.MySqlConnector"}).wrong
    assert "docs/sql-poll.md" in told.words


@pytest.mark.parametrize(
    ("policy", "kept", "deleted"),
    [("delete", 36500 * 86400, None), ("compact", None, 1), ("compact,delete", 36500 * 86400, 1)],
)
def test_topics_are_declared_as_connect_makes_them(policy: str, kept: int | None, deleted: int | None) -> None:
    given = {"cleanup.policy": policy, "retention.ms": "-1", "delete.retention.ms": "1000", "min.insync.replicas": "2"}
    made = taken(**{f"topic.creation.default.{name}": value for name, value in given.items()})
    declared = settings(made).topic("shop.public.t")
    assert (declared.retention, declared.delete_retention, declared.min_insync_replicas) == (kept, deleted, 2)


def test_the_brokers_number_of_partitions_is_one() -> None:
    translation = taken(**{"topic.creation.default.partitions": "-1"})
    assert settings(translation).topic("shop.public.t").partitions == 1
    assert "partitions: 1 is written" in "\n".join(translation.remarks)


AVRO = {f"{kind}.converter": "io.confluent.connect.avro.AvroConverter" for kind in ("key", "value")}
REGISTRY = "value.converter.schema.registry.url"


def test_confluents_avro_is_a_format_with_its_registry() -> None:
    login = {f"{kind}.converter.basic.auth.user.info": "me:hunter3" for kind in ("key", "value")}
    translation = taken(**AVRO, **login, **{REGISTRY: "https://r:8081"})
    written = text_of(translation, "connector.json")
    assert "hunter3" not in written + repr(translation)
    found = parse(written, {"SCHEMA_REGISTRY_PASSWORD": "x"}).schema_registry
    assert found is not None
    assert (found.url, found.username) == ("https://r:8081", "me")
    assert (translation.document["connectors"]["inventory"]["format"], translation.lost) == ("avro", [])


def test_a_login_that_a_configuration_provider_resolves_is_of_variables() -> None:
    given = {REGISTRY: "http://r", "value.converter.schema.registry.basic.auth.user.info": "${file:/s:login}"}
    translation = taken(**AVRO, **given)
    assert not translation.wrong
    assert translation.document["schema_registry"]["username"] == "${SCHEMA_REGISTRY_USERNAME}"


@pytest.mark.parametrize("url", ["r:8081", "http://me:hunter3@r"])
def test_a_registrys_address_has_no_login(url: str) -> None:
    translation = taken(**AVRO, **{REGISTRY: url})
    assert [told.name for told in translation.wrong] == [REGISTRY]
    assert "hunter3" not in repr(translation.wrong)


def test_keys_and_values_have_one_format() -> None:
    given = {**AVRO, "key.converter": "org.apache.kafka.connect.json.JsonConverter"}
    assert [told.name for told in taken(**given).wrong] == ["key.converter"]


def test_an_outbox_beside_avro_is_json() -> None:
    outbox = {"transforms": "o", "transforms.o.type": "io.debezium.transforms.outbox.EventRouter"}
    translation = taken(**AVRO, **outbox, table__include__list="public.outbox")
    assert [one.format for one in settings(translation).connectors["inventory"].tables.values()] == ["debezium-json"]


def test_a_json_converter_has_schemas_unless_told_otherwise() -> None:
    given = {**LEAST, "value.converter": "org.apache.kafka.connect.json.JsonConverter"}
    del given["value.converter.schemas.enable"]
    (section,) = translate("x", given).document["connectors"].values()
    assert section["format"] == "debezium-json-schemas"
    enabled = translate("x", {"value.converter.schemas.enable": "false", **given})
    (section,) = enabled.document["connectors"].values()
    assert section["format"] == "debezium-json"


def test_a_hash_that_is_not_known_is_wrong() -> None:
    name = "column.mask.hash.v2.ROT13.with.salt.x"
    assert [told.name for told in taken(**{name: "public.a.name"}).wrong] == [name]


@pytest.mark.parametrize("name", ["topic.prefix", "database.hostname", "database.user", "database.dbname"])
def test_what_is_missing_is_wrong(name: str) -> None:
    assert [told.name for told in taken(**{name: ""}).wrong] == [name]


@pytest.mark.parametrize(
    "text", ['{"name": "c", "config": {"a": 1, "b": true, "c": null}}', '{"name": "c", "a": "1", "b": "true"}']
)
def test_a_connector_is_read_as_kafka_connect_takes_and_gives_it(text: str) -> None:
    source = read(text, "connector.json")
    assert source.name == "c"
    assert (source.config["a"], source.config["b"]) == ("1", "true")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n"a": "x",\n}', "connector.json:3: is no JSON"),
        ("[]", "connector.json:1: must hold a connector"),
        ("[" * 100_000, "connector.json: is nested too deeply"),
        ("{}", "connector.json:1: must hold a connector"),
        ('{\n"config": {\n"a": {}}}', "connector.json:3: a: must be text"),
        ('{\n"a": "1",\n"a": "2"}', "connector.json:2: a: is given twice"),
    ],
)
def test_what_is_no_connector_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("{", "\\{")):
        read(text, "connector.json")


def written(tmp_path: Path, **config: str) -> Path:
    file = tmp_path / "connector.json"
    file.write_text(json.dumps({"name": "c", "config": {**LEAST, **config}}, indent=1))
    return file


def test_the_command_writes_a_file_once(tmp_path: Path) -> None:
    file, output = written(tmp_path, converters="isbn"), tmp_path / "cdc.yaml"
    done = CliRunner().invoke(app, ["import-debezium", str(file), "--output", str(output)])
    assert done.exit_code == 0, done.output
    assert f"{file}:11: converters: is not taken over" in done.stderr
    assert parse(output.read_text(), SECRETS).name == "shop"
    again = CliRunner().invoke(app, ["import-debezium", str(file), "--output", str(output)])
    assert isinstance(again.exception, ConfigError)


def test_the_command_reads_what_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_text(file.read_text(), encoding="utf-8-sig")
    assert CliRunner().invoke(app, ["import-debezium", str(file)]).exit_code == 0


def test_the_command_says_what_its_settings_want_yet(tmp_path: Path) -> None:
    outbox = {"transforms": "o", "transforms.o.type": "io.debezium.transforms.outbox.EventRouter"}
    file = written(tmp_path, **outbox, **{"topic.creation.default.cleanup.policy": "compact"})
    done = CliRunner().invoke(app, ["import-debezium", str(file)])
    assert done.exit_code == 0
    assert 'want a hand: connectors.c.tables."*.*".outbox: ' in done.stderr


def test_the_command_writes_nothing_when_something_is_wrong(tmp_path: Path) -> None:
    file = written(tmp_path, **{"decimal.handling.mode": "exact"})
    done = CliRunner().invoke(app, ["import-debezium", str(file)])
    assert isinstance(done.exception, ConfigError)
    assert f"{file}:11: decimal.handling.mode: must be one of precise, double, string" in done.exception.message
    assert not done.stdout


OFFSETS: list[tuple[dict[str, Any], dict[str, int]]] = [
    (
        {"lsn_proc": 7, "messageType": "INSERT", "lsn_commit": 5, "lsn": 7, "txId": 1, "ts_usec": 1},
        {"lsn": 7, "lsn_commit": 5},
    ),
    ({"messageType": "INSERT", "lsn_commit": 7, "lsn": 7}, {"lsn": 7, "lsn_commit": 7}),
    ({"messageType": "COMMIT", "lsn_commit": 7, "lsn": 7}, {"lsn_commit": 7}),
    ({"messageType": "UPDATE", "lsn": 7}, {"lsn": 7}),
    ({"snapshot": "INITIAL", "snapshot_completed": True, "last_snapshot_record": True, "lsn": 7}, {}),
]


@pytest.mark.parametrize(("offset", "expected"), OFFSETS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_offset_says_where_to_go_on(offset: dict[str, Any], expected: dict[str, int], wrapped: bool) -> None:
    given = {"offsets": [{"partition": {"server": "shop"}, "offset": offset}]} if wrapped else offset
    assert start_from(json.dumps(given), "offset.json") == expected


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"offsets": []}',
        '{"offsets": [{"offset": {"file": "binlog.1", "pos": 4}}]}',
        '{"snapshot": "INITIAL", "snapshot_completed": false, "last_snapshot_record": false, "lsn": 7}',
    ],
)
def test_what_is_no_offset_to_go_on_from_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match=r"offset\.json"):
        start_from(text, "offset.json")


def test_the_command_writes_the_offset_down(tmp_path: Path) -> None:
    offset = tmp_path / "offset.json"
    offset.write_text('{"messageType": "INSERT", "lsn_commit": 5, "lsn": 7}')
    done = CliRunner().invoke(app, ["import-debezium", str(written(tmp_path)), "--offset", str(offset)])
    (section,) = parse(done.stdout, SECRETS).connectors.values()
    assert isinstance(section, PostgresWalSettings)
    assert section.start_from is not None
    assert (section.start_from.lsn, section.start_from.lsn_commit) == (7, 5)


def test_the_page_says_what_becomes_of_each_property() -> None:
    lines = PAGE.read_text().splitlines()
    for rule in TAKEN:
        assert f"| `{rule.name}` | {rule.setting} | {rule.note} |" in lines
    for absent in LACKING:
        assert f"| `{absent.name}` | {absent.why} |" in lines
    for absent in NEEDLESS:
        assert f"| `{absent.name}` | {absent.why} |" in lines
