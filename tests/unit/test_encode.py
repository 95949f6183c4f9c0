"""Rows become events: which records, in what order, with what in them."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest

from cdc.errors import ProtocolError
from cdc.event import BY_KEY, EVERY_PARTITION, Record
from cdc.formats.debezium_json import Order
from cdc.formats.handling import Handling, Style
from cdc.formats.postgres.encode_cy import RowEncoder, Transaction
from cdc.formats.postgres.plan import Facts, SourceInfo, plan_table
from cdc.formats.postgres.relation import Relation
from cdc.table_settings import ColumnChoice, Constant
from connectors.postgres_wal.options import TableOptions
from tests.unit.row_messages import TYPES, UNCHANGED, Values, column, copy_line, delete, insert, relation, update

TABLE = relation(column("id", "int4", key=True), column("v", "text"), column("n", "int4"))
FULL = relation(
    column("id", "int4", key=True), column("v", "text", key=True), column("n", "int4", key=True), identity="f"
)
KEYLESS = relation(column("id", "int4", key=True), column("v", "text", key=True), identity="f")

COMMIT = Transaction(
    commit_lsn=0x16_B374D848,
    commit_time_us=1_795_391_741_039_123,
    xid=771,
    last_commit_lsn=24_023_000,
    snapshot="false",
    now_ns=1_795_391_741_100_123_456,
    timestamp_ms=1_795_391_741_039,
)

PREFIX = b"the header of the CopyData message"


def encoder(
    of: Relation = TABLE, *, key: tuple[str, ...] = ("id",), with_cdc: bool = True, **options: Any
) -> RowEncoder:
    plan = plan_table(
        of,
        TYPES,
        options=TableOptions(**options),
        key_columns=key,
        topic="shop.public.t",
        source=SourceInfo("shop", "warehouse", "0.1.0"),
        handling=Handling(),
        mask_key=b"secret",
        style=Style(with_cdc=with_cdc),
        facts=Facts(not_null={column.name for column in of.columns} - {"v"}),
    )
    made = RowEncoder(plan)
    made.begin(COMMIT)
    return made


def encode(with_: RowEncoder, message: bytes, fill: dict[int, bytes | None] | None = None) -> list[Record]:
    records: list[Record] = []
    size = with_.encode(PREFIX + message, len(PREFIX), 24_023_128, 12, records, fill)
    assert size == sum(len(key or b"") + len(value or b"") for _, key, value, *_ in records)
    return records


def value(record: Record) -> Any:
    assert record[2] is not None
    return json.loads(record[2])


def shown(records: list[Record]) -> list[tuple[str | None, Any, Any, Any]]:
    """Key, op, before and after."""
    return [
        (
            key.decode() if key is not None else None,
            *(
                [json.loads(text).get(part) for part in ("op", "before", "after")]
                if text
                else ("tombstone", None, None)
            ),
        )
        for _, key, text, *_ in records
    ]


def test_the_envelope_is_debezium_s_and_ends_with_the_position() -> None:
    (record,) = encode(encoder(), insert(["1", "a", "2"]))
    assert record == (
        "shop.public.t",
        b'{"id":1}',
        b'{"before":null,"after":{"id":1,"v":"a","n":2},'
        b'"source":{"version":"0.1.0","connector":"postgresql","name":"shop","ts_ms":1795391741039,"snapshot":"false",'
        b'"db":"warehouse","sequence":"[\\"24023000\\",\\"24023128\\"]","ts_us":1795391741039123,'
        b'"ts_ns":1795391741039123000,"schema":"public","table":"t","txId":771,"lsn":24023128,"xmin":null,'
        b'"origin":null,"origin_lsn":null},"transaction":null,"op":"c","ts_ms":1795391741100,'
        b'"ts_us":1795391741100123,"ts_ns":1795391741100123456,'
        b'"cdc":{"pos":"00000016/B374D848/0000000012"}}',
        BY_KEY,
        1_795_391_741_039,
        None,
    )


def test_the_first_transaction_has_none_before_it() -> None:
    made = encoder()
    made.begin(Transaction(1, 2, 3, None, "first", 4, 0))
    (record,) = encode(made, insert(["1", "a", "2"]))
    assert value(record)["source"]["sequence"] == '[null,"24023128"]'
    assert value(record)["source"]["snapshot"] == "first"
    assert record[4] == 0


def test_without_our_member_the_envelope_is_debezium_s_alone() -> None:
    (record,) = encode(encoder(with_cdc=False), insert(["1", "a", "2"]))
    assert "cdc" not in value(record)
    assert list(value(record))[-1] == "ts_ns"


def test_names_are_escaped() -> None:
    odd = relation(column('q"q', "int4", key=True), column("Ünï", "text"), schema="My Schema", name='t"\\')
    (record,) = encode(encoder(odd, key=('q"q',)), insert(["1", "a"]))
    assert record[1] == b'{"q\\"q":1}'
    assert value(record)["after"] == {'q"q': 1, "Ünï": "a"}
    assert (value(record)["source"]["schema"], value(record)["source"]["table"]) == ("My Schema", 't"\\')


def test_an_update_has_the_old_row_only_under_identity_full() -> None:
    assert shown(encode(encoder(), update(["1", "b", "2"]))) == [('{"id":1}', "u", None, {"id": 1, "v": "b", "n": 2})]
    assert shown(encode(encoder(FULL), update(["1", "b", None], old=["1", None, "2"]))) == [
        ('{"id":1}', "u", {"id": 1, "v": None, "n": 2}, {"id": 1, "v": "b", "n": None})
    ]


def test_a_delete_is_followed_by_a_tombstone_and_shows_what_the_server_knows() -> None:
    # v may be NULL, n may not: Debezium's stand-in is 0.
    assert shown(encode(encoder(), delete(key=["1", None, None]))) == [
        ('{"id":1}', "d", {"id": 1, "v": None, "n": 0}, None),
        ('{"id":1}', "tombstone", None, None),
    ]
    assert shown(encode(encoder(FULL), delete(old=["1", "a", None]))) == [
        ('{"id":1}', "d", {"id": 1, "v": "a", "n": None}, None),
        ('{"id":1}', "tombstone", None, None),
    ]


@pytest.mark.parametrize("of", [TABLE, FULL])
def test_a_changed_key_ends_the_old_one_and_begins_the_new_one(of: Relation) -> None:
    old: Values = ["1", "a", "2"] if of is FULL else ["1", None, None]
    message = update(["10", "a", "2"], old=old) if of is FULL else update(["10", "a", "2"], key=old)
    records = encode(encoder(of), message)
    before = {"id": 1, "v": "a", "n": 2} if of is FULL else {"id": 1, "v": None, "n": 0}
    assert shown(records) == [
        ('{"id":1}', "d", before, None),
        ('{"id":1}', "tombstone", None, None),
        ('{"id":10}', "c", None, {"id": 10, "v": "a", "n": 2}),
    ]
    assert [headers for *_, headers in records] == [
        [("__debezium.newkey", b'{"id":10}')],
        [("__debezium.newkey", b'{"id":10}')],
        [("__debezium.oldkey", b'{"id":1}')],
    ]


def test_an_old_key_that_is_equal_is_no_changed_key() -> None:
    # The server sends the old key too when a key column is stored out of line.
    assert shown(encode(encoder(), update(["1", "a", "2"], key=["1", None, None]))) == [
        ('{"id":1}', "u", {"id": 1, "v": None, "n": 0}, {"id": 1, "v": "a", "n": 2})
    ]


def test_a_key_column_left_out_as_unchanged_is_taken_from_the_old_key() -> None:
    of = relation(column("k", "text", key=True), column("v", "int4"))
    assert shown(encode(encoder(of, key=("k",)), update([UNCHANGED, "2"], key=["long", None]))) == [
        ('{"k":"long"}', "u", {"k": "long", "v": None}, {"k": "long", "v": 2})
    ]


def test_a_key_has_its_columns_in_its_own_order() -> None:
    of = relation(column("v", "text"), column("b", "text", key=True), column("a", "int4", key=True))
    (record,) = encode(encoder(of, key=("a", "b")), insert(["x", "k", "1"]))
    assert record[1] == b'{"a":1,"b":"k"}'


def test_a_table_without_key_has_neither_keys_nor_tombstones() -> None:
    made = encoder(KEYLESS, key=())
    assert shown(encode(made, insert(["1", "a"]))) == [(None, "c", None, {"id": 1, "v": "a"})]
    assert shown(encode(made, update(["2", "a"], old=["1", "a"]))) == [
        (None, "u", {"id": 1, "v": "a"}, {"id": 2, "v": "a"})
    ]
    assert shown(encode(made, delete(old=["1", "a"]))) == [(None, "d", {"id": 1, "v": "a"}, None)]


def test_a_declared_key_that_changes_moves_the_row() -> None:
    keys = [key for key, *_ in shown(encode(encoder(FULL, key=("v",)), update(["1", "b", "2"], old=["1", "a", "2"])))]
    assert keys == ['{"v":"a"}', '{"v":"a"}', '{"v":"b"}']


def test_an_unchanged_toast_value_is_left_out_and_named() -> None:
    made = encoder()
    (record,) = encode(made, update(["1", UNCHANGED, "3"]))
    assert value(record)["after"] == {"id": 1, "n": 3}
    assert value(record)["cdc"] == {"pos": "00000016/B374D848/0000000012", "unchanged": ["v"]}
    assert made.unchanged == 1
    assert made.unchanged_columns(PREFIX + update(["1", UNCHANGED, "3"]), len(PREFIX)) == [1]


def test_an_unchanged_value_comes_from_the_old_row_where_that_is_whole() -> None:
    made = encoder(FULL)
    (record,) = encode(made, update(["1", UNCHANGED, "3"], old=["1", "long", "2"]))
    assert value(record)["after"] == {"id": 1, "v": "long", "n": 3}
    assert "unchanged" not in value(record)["cdc"]
    assert made.unchanged == 0


def test_an_old_key_says_nothing_of_an_unchanged_column() -> None:
    *_, created = encode(encoder(), update(["10", UNCHANGED, "3"], key=["1", None, None]))
    assert value(created)["after"] == {"id": 10, "n": 3}
    assert value(created)["cdc"]["unchanged"] == ["v"]


@pytest.mark.parametrize(("given", "shown_as"), [(b'now "this"', 'now "this"'), (None, None)])
def test_a_value_read_again_is_in_the_event_and_named(given: bytes | None, shown_as: str | None) -> None:
    made = encoder()
    (record,) = encode(made, update(["1", UNCHANGED, "3"]), fill={1: given, 2: b"no column of this row"})
    assert value(record)["after"] == {"id": 1, "v": shown_as, "n": 3}
    assert value(record)["cdc"] == {"pos": "00000016/B374D848/0000000012", "reselected": ["v"]}
    assert made.unchanged == 0


def test_some_values_may_be_read_again_and_others_not() -> None:
    of = relation(column("id", "int4", key=True), column("v", "text"), column("w", "text"))
    (record,) = encode(encoder(of), update(["1", UNCHANGED, UNCHANGED]), fill={2: b"x"})
    assert value(record)["after"] == {"id": 1, "w": "x"}
    assert value(record)["cdc"] == {
        "pos": "00000016/B374D848/0000000012",
        "unchanged": ["v"],
        "reselected": ["w"],
    }


def test_a_row_that_was_gone_when_it_was_read_again_says_so() -> None:
    of = relation(column("id", "int4", key=True), column("v", "text"))
    (record,) = encode(encoder(of), update(["1", UNCHANGED]), fill={})
    assert value(record)["after"] == {"id": 1}
    assert value(record)["cdc"] == {"pos": "00000016/B374D848/0000000012", "unchanged": ["v"], "gone": True}


def test_a_row_all_unchanged_but_for_an_excluded_key_is_still_json() -> None:
    of = relation(column("v", "text"), column("w", "text"))
    (record,) = encode(encoder(of, key=()), update([UNCHANGED, UNCHANGED]))
    assert value(record)["after"] == {}


def test_an_unpublished_column_is_neither_read_again_nor_named() -> None:
    made = encoder(columns=ColumnChoice(exclude=["v"]))
    (record,) = encode(made, update(["1", UNCHANGED, "3"]))
    assert value(record)["after"] == {"id": 1, "n": 3}
    assert "unchanged" not in value(record)["cdc"]
    assert made.unchanged_columns(update(["1", UNCHANGED, "3"]), 0) == []


def test_the_key_s_text_is_what_the_server_wrote() -> None:
    of = relation(column("v", "text"), column("k", "bytea", key=True))
    made = encoder(of, key=("k",))
    assert made.key_text(PREFIX + insert(["x", "\\x00ff"]), len(PREFIX)) == [b"\\x00ff"]
    assert made.key_text(delete(key=[None, "\\x01"]), 0) == [b"\\x01"]
    assert made.key_text(insert(["x", None]), 0) == [None]


def test_a_masked_value_is_never_in_an_event() -> None:
    made = encoder(mask={"v": "hmac", "n": Constant(constant='*"*')})
    (record,) = encode(made, insert(["1", "jane@example.org", "2"]))
    digest = hmac.new(b"secret", b"jane@example.org", hashlib.sha256).hexdigest()
    assert value(record)["after"] == {"id": 1, "v": digest, "n": '*"*'}
    (record,) = encode(made, insert(["1", None, None]))
    assert value(record)["after"] == {"id": 1, "v": None, "n": None}


def test_a_masked_key_stays_a_key() -> None:
    of = relation(column("email", "text", key=True))
    made = encoder(of, key=("email",), mask={"email": "hmac"})
    (one,), (same,), (other,) = (encode(made, insert([text])) for text in ("a", "a", "b"))
    assert one[1] == same[1] != other[1]
    assert made.key_text(insert(["a"]), 0) == [b"a"]


def test_a_text_is_cut_after_characters_not_bytes() -> None:
    made = encoder(truncate={"v": 20})
    (record,) = encode(made, insert(["1", "žluťoučký kůň úpěl ďábelské ódy", "2"]))
    assert value(record)["after"]["v"] == "žluťoučký kůň úpěl ď"
    assert value(encode(encoder(truncate={"v": 0}), insert(["1", "😀", "2"]))[0])["after"]["v"] == ""


def test_a_truncate_goes_where_it_is_told() -> None:
    made = encoder()
    records: list[Record] = []
    size = made.truncate(5, 7, records, EVERY_PARTITION)
    ((topic, key, text, partition, _, headers),) = records
    assert (topic, key, partition, headers) == ("shop.public.t", None, EVERY_PARTITION, None)
    assert text is not None
    assert size == len(text)
    document = json.loads(text)
    assert (document["op"], document["before"], document["after"]) == ("t", None, None)
    assert document["cdc"] == {"pos": "00000016/B374D848/0000000007"}


def copied(with_: RowEncoder, line: bytes) -> list[Record]:
    records: list[Record] = []
    size = with_.encode_copy(line, records)
    assert size == sum(len(key or b"") + len(value or b"") for _, key, value, *_ in records)
    return records


def test_a_copied_row_is_read_as_of_the_snapshot() -> None:
    made = encoder()
    made.begin(Transaction(0x16_B374D848, 2, 3, None, "true", 4, 5))
    (record,) = copied(made, copy_line(["1", "a", None]))
    document = value(record)
    assert record[1] == b'{"id":1}'
    assert (document["op"], document["before"]) == ("r", None)
    assert document["after"] == {"id": 1, "v": "a", "n": None}
    assert document["source"]["lsn"] == 0x16_B374D848
    assert document["cdc"] == {"pos": "00000016/B374D848/0000000000"}


@pytest.mark.parametrize("text", ["", "\\N", "a\tb\nc\rd\be\ff\vg\\h\\", "\\\\N", "Ω😀\x01", "N", "\n"])
def test_what_copy_escapes_comes_back(text: str) -> None:
    (record,) = copied(encoder(), copy_line(["1", text, "2"]))
    assert value(record)["after"] == {"id": 1, "v": text, "n": 2}


def test_a_copied_line_has_the_published_columns_only() -> None:
    made = encoder(columns=ColumnChoice(exclude=["v"]))
    assert made.plan.copy_columns == ("id", "n")
    assert value(copied(made, b"1\t2\n")[0])["after"] == {"id": 1, "n": 2}
    assert value(copied(made, b"1\t\\N\n")[0])["after"] == {"id": 1, "n": None}


@pytest.mark.parametrize("line", [b"1\ta\n", b"1\ta\t2\t3\n", b"", b"\n", b"1\t\\t\n", b"1\t\\t\t2\t3\n"])
def test_a_line_of_other_columns_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"public\.t"):
        copied(encoder(), line)


def test_octal_and_hexadecimal_escapes_are_understood() -> None:
    assert value(copied(encoder(), b"1\t\\101\\x42\\q\t2\n")[0])["after"]["v"] == "ABq"


REFUSED = [
    b"",
    b"I",
    insert(["1", "a"]),
    insert(["1", "a", "2", "3"]),
    insert(["1", "a", "2"]) + b"x",
    b"D\0\0\0\0N" + insert(["1", "a", "2"])[6:],
    b"X" + insert(["1", "a", "2"])[1:],
    b"I" + delete(key=["1", None, None])[1:],
    insert(["1", "a", "2"]).replace(b"t", b"b", 1),
    insert(["1", b"\xff", "2"]),
    insert(["x", "a", "2"]),
    update([UNCHANGED, "a", "2"]),
]


@pytest.mark.parametrize("message", REFUSED)
def test_a_wrong_message_is_refused_whole_and_names_the_table(message: bytes) -> None:
    made = encoder()
    records: list[Record] = []
    with pytest.raises(ProtocolError, match=r"public\.t"):
        made.encode(message, 0, 1, 1, records)
    assert not records
    assert shown(encode(made, insert(["1", "a", "2"]))) == [('{"id":1}', "c", None, {"id": 1, "v": "a", "n": 2})]


@pytest.mark.parametrize("offset", [-1, 10_000, 2**40])
def test_an_offset_outside_the_message_is_refused(offset: int) -> None:
    with pytest.raises(ProtocolError):
        encoder().encode(insert(["1", "a", "2"]), offset, 1, 1, [])


def test_a_changed_key_whose_new_row_is_wrong_leaves_no_half() -> None:
    records: list[Record] = []
    with pytest.raises(ProtocolError):
        encoder().encode(update(["10", b"\xff", "2"], key=["1", None, None]), 0, 1, 1, records)
    assert not records


def test_a_row_of_many_megabytes_and_one_of_many_columns() -> None:
    wide = relation(column("id", "int4", key=True), *(column(f"c{place}", "text") for place in range(1599)))
    (record,) = encode(encoder(wide), insert(["1", *(str(place) for place in range(1599))]))
    assert value(record)["after"]["c1598"] == "1598"
    long = '"\\\n' * 1_000_000
    made = encoder()
    (record,) = encode(made, insert(["1", long, "2"]))
    assert value(record)["after"]["v"] == long
    (record,) = encode(made, insert(["1", "a", "2"]))
    assert value(record)["after"]["v"] == "a"


# The form of events around their values.


def styled(of: Relation = TABLE, *, quirks: bool = False, key: tuple[str, ...] = ("id",), **style: Any) -> RowEncoder:
    plan = plan_table(
        of,
        TYPES,
        options=TableOptions(),
        key_columns=key,
        topic="shop.public.t",
        source=SourceInfo("shop", "warehouse", "0.1.0"),
        handling=Handling(quirks=quirks),
        mask_key=None,
        style=Style(with_cdc=False, **style),
        facts=Facts(not_null={column.name for column in of.columns} - {"v"}),
    )
    made = RowEncoder(plan)
    made.begin(COMMIT)
    return made


def test_every_event_has_the_context_headers_behind_its_own() -> None:
    context = (("__debezium.context.taskId", "0"),)
    made = styled(context_headers=context)
    assert [record[5] for record in encode(made, insert(["1", "a", "1"]))] == [list(context)]
    assert [record[5] for record in encode(made, delete(key=["1", None, None]))] == [list(context)] * 2
    assert [record[5] for record in encode(made, update(["2", "a", "1"], key=["1", None, None]))] == [
        [("__debezium.newkey", b'{"id":2}'), *context],
        [("__debezium.newkey", b'{"id":2}'), *context],
        [("__debezium.oldkey", b'{"id":1}'), *context],
    ]


def test_without_tombstones_a_delete_is_all() -> None:
    assert len(encode(styled(tombstones=False), delete(key=["1", None, None]))) == 1


@pytest.mark.parametrize(
    ("skipped", "ops"),
    [("c", "udd"), ("u", "cd"), ("d", "cuc"), ("cu", "d"), ("cd", "u")],
)
def test_operations_are_skipped_and_each_half_of_a_changed_key(skipped: str, ops: str) -> None:
    made = styled(tombstones=False, skipped=frozenset(skipped))
    records: list[Record] = []
    for message in (
        insert(["1", "a", "1"]),
        update(["1", UNCHANGED, "2"]),
        update(["2", "a", "2"], key=["1", None, None]),
        delete(key=["2", None, None]),
    ):
        records += encode(made, message)
    assert "".join(value(record)["op"] for record in records) == ops
    assert made.unchanged == 0


def test_skipped_truncates_are_not_published() -> None:
    records: list[Record] = []
    assert styled(skipped=frozenset("t")).truncate(5, 7, records, EVERY_PARTITION) == 0
    assert not records


def test_a_placeholder_stands_for_an_unchanged_value() -> None:
    (record,) = encode(styled(placeholder="?"), update(["1", UNCHANGED, "2"]))
    assert value(record)["after"] == {"id": 1, "v": "?", "n": 2}


def test_events_say_which_of_their_transaction_they_are() -> None:
    made = styled(skipped=frozenset("u"))
    order = Order()
    made.begin(replace(COMMIT, order=order))
    records = encode(made, insert(["1", "a", "1"]))
    records += encode(made, update(["1", "a", "2"]))
    made.begin(replace(COMMIT, order=order))
    records += encode(made, delete(key=["1", None, None]))
    assert [value(record)["transaction"] for record in records if record[2]] == [
        {"id": "771:24023128", "total_order": 1, "data_collection_order": 1},
        {"id": "771:24023128", "total_order": 2, "data_collection_order": 2},
    ]


def test_under_quirks_a_key_beyond_the_identity_is_zero_and_tombstones_need_no_key() -> None:
    by_index = relation(column("id", "int4"), column("v", "text"), column("n", "int4", key=True), identity="i")
    records = encode(styled(by_index, quirks=True), delete(key=[None, None, "7"]))
    assert [record[1] for record in records] == [b'{"id":0}', b'{"id":0}']
    assert value(records[0])["before"] == {"id": 0, "v": None, "n": 7}
    keyless = encode(styled(KEYLESS, quirks=True, key=()), delete(old=["1", "a"]))
    assert [record[1:3] for record in keyless][1] == (None, None)


def test_a_row_that_is_gone_ends_under_the_key_that_its_events_have() -> None:
    made, out = encoder(), []
    keys = [b'{"id":1}', b'{"schema":{"type":"int32"},"payload":{"id":2}}']
    made.gone(keys, 1, out)
    assert [record[1] for record in out] == [keys[0], keys[0], keys[1], keys[1]]
    assert [value(record)["before"]["id"] for record in out[::2]] == [1, 2]


def flat(of: Relation = TABLE, key: tuple[str, ...] = ("id",)) -> RowEncoder:
    made = encoder(of, key=key)
    made = RowEncoder(replace(made.plan, style=Style(flat=True)))
    made.begin(COMMIT)
    return made


POSITION = "00000016/B374D848/0000000012"


def test_a_flattened_row_has_what_happened_behind_its_members() -> None:
    (record,) = encode(flat(), insert(["1", 'a","__deleted":"', None]))
    assert list(value(record).items()) == [
        ("id", 1),
        ("v", 'a","__deleted":"'),
        ("n", None),
        ("__deleted", "false"),
        ("__op", "c"),
        ("__pos", POSITION),
    ]


def test_a_flattened_update_has_no_row_before_it() -> None:
    (record,) = encode(flat(FULL), update(["1", "b", "2"], old=["1", "a", "2"]))
    assert value(record) == {"id": 1, "v": "b", "n": 2, "__deleted": "false", "__op": "u", "__pos": POSITION}


def test_a_flattened_delete_is_the_row_before_it_and_a_tombstone() -> None:
    first, second = encode(flat(), delete(key=["1", None, None]))
    assert value(first) == {"id": 1, "v": None, "n": 0, "__deleted": "true", "__op": "d", "__pos": POSITION}
    assert second[1:3] == (b'{"id":1}', None)


def test_a_flattened_row_names_unchanged_columns() -> None:
    (record,) = encode(flat(), update(["1", UNCHANGED, "2"]))
    assert value(record) == {
        "id": 1,
        "n": 2,
        "__deleted": "false",
        "__op": "u",
        "__pos": POSITION,
        "__unchanged": ["v"],
    }
    (record,) = encode(flat(), update(["1", UNCHANGED, "2"]), {1: b"x"})
    assert value(record)["__reselected"] == ["v"]


def test_a_flattened_truncate_and_a_flattened_copy() -> None:
    made = flat()
    records: list[Record] = []
    made.truncate(1, 12, records, EVERY_PARTITION)
    made.encode_copy(copy_line(["1", "a", "2"]), records)
    assert value(records[0]) == {"__deleted": "false", "__op": "t", "__pos": POSITION}
    assert value(records[1])["__op"] == "r"


class Upper:
    """A format that shouts."""

    def key(self, json: bytes) -> bytes:
        return b"K" + json.upper()

    def value(self, json: bytes) -> bytes:
        return b"V" + json.upper()


def test_a_format_makes_every_record_of_the_encoder_s() -> None:
    made = RowEncoder(encoder().plan, Upper())
    made.begin(COMMIT)
    records = encode(made, update(["2", "a", "1"], key=["1", None, None]))
    assert [(record[1], (record[2] or b"")[:1]) for record in records] == [
        (b'K{"ID":1}', b"V"),
        (b'K{"ID":1}', b""),
        (b'K{"ID":2}', b"V"),
    ]
    # Headers say keys as Kafka Connect's own header converter does.
    assert records[2][5] == [("__debezium.oldkey", b'{"id":1}')]
    records = []
    made.truncate(1, 1, records, EVERY_PARTITION)
    made.gone([b'{"id":7}'], 1, records)
    assert [(record[1], (record[2] or b"")[:1]) for record in records] == [
        (None, b"V"),
        (b'K{"ID":7}', b"V"),
        (b'K{"ID":7}', b""),
    ]
