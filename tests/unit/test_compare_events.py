"""What a comparison with Debezium forgives, and what it does not; random tables are the same for the same seed."""

from __future__ import annotations

import pytest

from tests.compare.difference import differences
from tests.compare.normalise import normal
from tests.compare.run import batch

STREAMED = (
    '{"before":null,"after":{"id":1,"t":"\\"lsn\\":7"},"source":{"version":"3.6.3.Final","connector":"postgresql",'
    '"name":"conf","ts_ms":17,"snapshot":"false","db":"compare","sequence":"[\\"5\\",\\"7\\"]","ts_us":17001,'
    '"ts_ns":17001000,"schema":"public","table":"t","txId":9,"lsn":7,"xmin":null,"origin":null,"origin_lsn":null},'
    '"transaction":null,"op":"c","ts_ms":20,"ts_us":20001,"ts_ns":20001002}'
)
SNAPSHOT = STREAMED.replace('"snapshot":"false"', '"snapshot":"first"')


def changed(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (STREAMED, [("3.6.3.Final", "0.1")]),
        (STREAMED, [('"ts_ms":20,"ts_us":20001,"ts_ns":20001002', '"ts_ms":21,"ts_us":21999,"ts_ns":21999999')]),
        (STREAMED, [('[\\"5\\",', "[null,")]),
        (SNAPSHOT, [('"lsn":7', '"lsn":8'), ('"txId":9', '"txId":10'), ('\\"7\\"]', '\\"8\\"]')]),
        (
            SNAPSHOT,
            [('"ts_ms":17', '"ts_ms":18'), ('"ts_us":17001,"ts_ns":17001000', '"ts_us":18001,"ts_ns":18001000')],
        ),
    ],
)
def test_what_is_volatile_is_forgiven(text: str, pairs: list[tuple[str, str]]) -> None:
    assert normal(changed(text, *pairs)) == normal(text)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (STREAMED, [('"lsn":7', '"lsn":8')]),
        (STREAMED, [('"txId":9', '"txId":10')]),
        (STREAMED, [('"ts_ms":17', '"ts_ms":18')]),
        (STREAMED, [('"ts_us":20001', '"ts_us":30001')]),
        (STREAMED, [('"id":1', '"id":1.0')]),
        (STREAMED, [('\\"lsn\\":7', '\\"lsn\\":8')]),
        (SNAPSHOT, [('"first"', '"last"')]),
        (SNAPSHOT, [('"op":"c"', '"op":"r"')]),
    ],
)
def test_all_else_is_not(text: str, pairs: list[tuple[str, str]]) -> None:
    assert normal(changed(text, *pairs)) != normal(text)


def test_a_difference_is_told_by_its_member() -> None:
    one, two = normal(STREAMED), normal(changed(STREAMED, ('"id":1', '"id":2'), ('"op":"c"', '"op":"u"')))
    assert differences((None, one, []), (None, two, [])) == [
        "value.after.id: Debezium 1, we 2",
        'value.op: Debezium "c", we "u"',
    ]
    (spelled,) = differences((None, '{"a":1.0}', []), (None, '{"a":1.00}', []))
    assert spelled.startswith("value: the same members, spelled or ordered otherwise")
    (ordered,) = differences((None, '{"a":1,"b":2}', []), (None, '{"b":2,"a":1}', []))
    assert ordered.startswith("value: members in another order")
    assert differences(None, (None, None, [])) == ["Debezium has null, we have [null, null, []]"]


def test_a_seed_makes_the_same_tables() -> None:
    assert batch(1, 3, 5) == batch(1, 3, 5)
    assert batch(1, 3, 5) != batch(1, 4, 5)
    assert batch(1, 3, 5).tables[0].sql().startswith("CREATE TABLE ")
