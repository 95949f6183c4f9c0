"""Reading settings: files, folders, variables, overrides, secrets, and the place of every key."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc.config import load, parse
from cdc.config.consistency import keyless_on_compacted, nothing_matches
from cdc.errors import ConfigError
from cdc.settings import Settings

ROOT = Path(__file__).parents[2]
STARTER = ROOT / "cdc" / "commands" / "starter.yaml"

BASE = """\
name: shop
kafka: {bootstrap_servers: "localhost:9092"}
"""


def problems(text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as wrong:
        parse(text, environ)
    return str(wrong.value)


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    for name in ("kafka-password", "warehouse-password", "ca.pem"):
        (tmp_path / name).write_text("hunter2\n")
    return {"SECRETS": str(tmp_path), "MASK_KEY": "hunter2"}


@pytest.mark.parametrize("file", [*sorted((ROOT / "config").glob("*.yaml")), STARTER], ids=lambda file: file.name)
def test_every_yaml_to_copy_loads(file: Path, secrets: dict[str, str]) -> None:
    settings = load(file, secrets)
    assert settings.connectors
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()


def test_a_folder_is_read_as_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BASE + "databases:\n  one: {url: 'postgresql://one/a'}\n")
    (tmp_path / "b.yml").write_text("databases:\n  two: {url: 'postgresql://two/b'}\n")
    (tmp_path / "notes.txt").write_text("not: [yaml")
    (tmp_path / ".hidden.yaml").write_text("unknown: 1")
    assert list(load(tmp_path, {}).databases) == ["one", "two"]


def test_a_value_given_in_two_files_names_both_places(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BASE)
    (tmp_path / "b.yaml").write_text("\nkafka: {bootstrap_servers: other}\n")
    with pytest.raises(ConfigError) as wrong:
        load(tmp_path, {})
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    assert f"{second}:2: kafka.bootstrap_servers: is given twice, first in {first}:2" in str(wrong.value)


def test_a_folder_without_yaml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no \*\.yaml"):
        load(tmp_path, {})


def test_cdc_config_says_where_the_settings_are(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(BASE)
    assert load(None, {"CDC_CONFIG": str(file)}).name == "shop"


def test_variables_are_put_in_and_may_have_defaults() -> None:
    text = "name: ${NAME:-shop}\nkafka: {bootstrap_servers: '${HOST}:${PORT:-9092}'}\n"
    text += "topics: {defaults: {partitions: '${P}'}}"
    settings = parse(text, {"HOST": "broker", "P": "3", "NAME": ""})
    assert (settings.name, settings.kafka.bootstrap_servers) == ("shop", "broker:9092")
    assert settings.topic("any").partitions == 3


def test_a_doubled_dollar_stands_for_itself() -> None:
    text = BASE + "databases: {w: {url: 'postgresql://h/d', password: 'a$${b}$c'}}"
    password = parse(text).databases["w"].password
    assert password is not None
    assert password.get_secret_value() == "a${b}$c"


def test_a_variable_holds_text_and_never_yaml() -> None:
    text = BASE + "databases: {w: {url: 'postgresql://h/d', password: '${PW}'}}"
    for secret in ("a: b", "*x", "'\"", "yes", "0123", "# no"):
        password = parse(text, {"PW": secret}).databases["w"].password
        assert password is not None
        assert password.get_secret_value() == secret


def test_a_variable_in_a_flow_mapping_needs_quotes_and_the_error_says_so() -> None:
    assert 'put quotes around "${…}"' in problems(BASE + "databases: {w: {url: ${URL}}}", {"URL": "postgresql://h/d"})


def test_yaml_is_1_2() -> None:
    settings = parse("name: on\nkafka: {bootstrap_servers: 'no', properties: {client.id: yes, linger.ms: 5}}")
    assert settings.name == "on"
    assert settings.kafka.properties == {"client.id": "yes", "linger.ms": "5"}


def test_anchors_and_merge_keys_are_understood() -> None:
    text = BASE + "topics:\n  defaults: &d {partitions: 3}\n  a: {<<: *d, cleanup_policy: delete}\n  b: *d\n"
    settings = parse(text)
    assert (settings.topics["a"].partitions, settings.topics["b"].partitions) == (3, 3)


def test_a_mapping_that_holds_itself_is_an_error() -> None:
    assert "holds itself" in problems(BASE + "topics: &t\n  defaults: *t\n")


def test_the_environment_overrides_keys_whatever_their_case() -> None:
    text = BASE + 'topics: {"shop.public.audit_*": {partitions: 1}}'
    environ = {
        "CDC_NAME": "other",
        "CDC_KAFKA__BOOTSTRAP_SERVERS": "broker:1",
        "CDC_KAFKA__PROPERTIES__COMPRESSION_TYPE": "lz4",
        "CDC_DATABASES__NEW__URL": "postgresql://h/d",
        "CDC_CONFIG": "ignored",
        "CDC_DEBUG": "1",
    }
    settings = parse(text, environ)
    assert settings.name == "other"
    assert settings.kafka.bootstrap_servers == "broker:1"
    assert settings.kafka.properties == {"compression.type": "lz4"}
    assert list(settings.databases) == ["new"]


def test_an_override_may_be_json() -> None:
    settings = parse(BASE, {"CDC_TOPICS": "ignored", "CDC_TOPICS__DEFAULTS": '{"partitions": 2}'})
    assert settings.topic("any").partitions == 2


def test_a_wrong_override_names_its_variable_and_not_its_value() -> None:
    said = problems(BASE, {"CDC_TOPICS__DEFAULTS__PARTITIONS": "hunter2", "CDC_KAFKA__BOOTSTRAP_SERVER": "x"})
    assert "environment variable CDC_TOPICS__DEFAULTS__PARTITIONS: topics.defaults.partitions: must be a whole" in said
    assert "environment variable CDC_KAFKA__BOOTSTRAP_SERVER: kafka.bootstrap_server: is not a setting here" in said
    assert "hunter2" not in said


def test_a_value_from_a_variable_is_not_repeated() -> None:
    assert "hunter2" not in problems(BASE + "topics: {defaults: {partitions: '${SECRET}'}}", {"SECRET": "hunter2"})


def test_secret_files_are_relative_to_the_yaml_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "url").write_text("postgresql://cdc:hunter2@h/d\n")
    (tmp_path / "secrets" / "kafka").write_text("kafka-password\r\n")
    file = tmp_path / "cdc.yaml"
    file.write_text(
        "name: shop\nkafka:\n  bootstrap_servers: h\n  sasl_password_file: secrets/kafka\n"
        "  properties: {security.protocol: SASL_SSL, sasl.mechanism: PLAIN, sasl.username: u}\n"
        "databases: {w: {url_file: secrets/url}}\n"
    )
    settings = load(file, {})
    assert settings.databases["w"].url.get_secret_value() == "postgresql://cdc:hunter2@h/d"
    assert settings.kafka.sasl_password is not None
    assert settings.kafka.sasl_password.get_secret_value() == "kafka-password"


def test_a_secret_and_its_file_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x")
    text = BASE + f"databases: {{w: {{url: 'postgresql://h/d', password: x, password_file: {tmp_path / 'key'}}}}}"
    assert "databases.w.password_file: stands beside password" in problems(text)


TABLES = """\
databases: {w: {url: "postgresql://h/d"}}
connectors:
  w:
    type: postgres_wal
    database: w
    tables:
      - public.orders
      - public.visits: {truncates: skip}
      - "sales.*"
"""


@pytest.fixture
def shop() -> Settings:
    return parse(BASE + TABLES, file="cdc.yaml")


def test_settings_know_where_each_key_was_written(shop: Settings) -> None:
    assert shop.place(("connectors", "w", "tables", "sales.*")) == ("cdc.yaml", 11)
    assert shop.place(("connectors", "w", "tables", "public.visits", "truncates")) == ("cdc.yaml", 10)
    assert shop.place(("connectors", "w", "batch", "rows")) == ("cdc.yaml", 5), "the nearest section around it"


def test_a_table_that_matches_nothing_is_told_with_its_line(shop: Settings) -> None:
    problem = nothing_matches(shop, "w", "public.orders", ["public.order", "public.customers"])
    assert str(problem) == (
        'cdc.yaml:9: connectors.w.tables."public.orders": no table has this name (did you mean public.order?)'
    )


def test_a_keyless_table_on_a_compacted_topic_is_told_with_its_line(shop: Settings) -> None:
    problem = keyless_on_compacted(shop, "w", "sales.*", "sales.log", "shop.sales.log")
    assert problem is not None
    assert (problem.file, problem.line) == ("cdc.yaml", 11)
    assert "sales.log has no key, but its topic shop.sales.log is compacted" in problem.message
    deleted = parse(BASE + TABLES + "topics: {shop.sales.log: {cleanup_policy: delete}}")
    assert keyless_on_compacted(deleted, "w", "sales.*", "sales.log", "shop.sales.log") is None


@pytest.mark.parametrize(
    ("tables", "topic", "fits"),
    [
        ('["sales.*"]', "shop.sales.orders", True),
        ('["sales.*"]', "shop.public.orders", False),
        ('["*"]', "shop.public.orders", True),
        ("[sales.orders]", "shop.sales.*", True),
        ("[sales.orders]", "shop.hr.*", False),
        ('["sales.o*"]', "shop.sales.*", True),
        ('["sales.*"]', "shop.hr.*", False),
        ('["public.Order Lines"]', "shop.public.Order_Lines", True),
        ("[public.orders]", "shop.cdc.schemas", False),
    ],
)
def test_a_sinks_topics_must_be_captured_by_some_connector(tables: str, topic: str, fits: bool) -> None:
    text = (
        BASE
        + "databases: {w: {url: 'postgresql://h/d'}}\n"
        + f"connectors: {{w: {{type: postgres_wal, database: w, tables: {tables}}}}}\n"
        + f'sinks: {{b: {{type: postgres, database: w, topics: ["{topic}"]}}}}\n'
    )
    if fits:
        assert parse(text).sinks
    else:
        assert f"no connector captures {topic}" in problems(text)


def test_two_connectors_of_different_servers_may_have_the_same_slot() -> None:
    text = BASE + (
        "databases: {a: {url: 'postgresql://one/d'}, b: {url: 'postgresql://two/d'}}\n"
        "connectors:\n"
        "  a: {type: postgres_wal, database: a, tables: [public.a], slot: bridge}\n"
        "  b: {type: postgres_wal, database: b, tables: [public.b], slot: bridge}\n"
    )
    assert len(parse(text).connectors) == 2


def test_one_wrong_section_does_not_hide_what_is_wrong_between_others() -> None:
    text = (
        BASE + TABLES.replace("database: w", "database: x") + "server: {listen: nowhere}\ntopics: {a: {partitions: x}}"
    )
    said = problems(text)
    assert "there is no database x" in said
    assert "server.listen" in said
    assert "topics.a.partitions" in said


def test_a_wrong_database_is_not_also_an_unknown_one() -> None:
    said = problems(BASE + TABLES.replace("postgresql://h/d", "postgresql://h/d', user: 'x").replace('"', "'", 2))
    assert "databases.w.user: is not a setting here" in said
    assert "there is no database" not in said
