"""DuckDB's types, from its own text of them: duckdb-engine asks for a catalogue that DuckDB lacks. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

_SIMPLE: Final[Mapping[str, sa.types.TypeEngine[Any]]] = {
    "TINYINT": sa.SmallInteger(),
    "UTINYINT": sa.SmallInteger(),
    "SMALLINT": sa.SmallInteger(),
    "USMALLINT": sa.Integer(),
    "INTEGER": sa.Integer(),
    "UINTEGER": sa.BigInteger(),
    "BIGINT": sa.BigInteger(),
    "UBIGINT": sa.Numeric(20, 0),
    "HUGEINT": sa.Numeric(39, 0),
    "UHUGEINT": sa.Numeric(39, 0),
    "BIGNUM": sa.Numeric(),
    "VARINT": sa.Numeric(),
    "FLOAT": sa.REAL(),
    "DOUBLE": sa.Double(),
    "BOOLEAN": sa.Boolean(),
    "VARCHAR": sa.Text(),
    "BLOB": sa.LargeBinary(),
    "DATE": sa.Date(),
    "TIME": sa.Time(),
    "TIME_NS": sa.Time(),
    "TIME WITH TIME ZONE": postgresql.TIME(timezone=True),
    "TIMESTAMP_S": postgresql.TIMESTAMP(precision=0),
    "TIMESTAMP_MS": postgresql.TIMESTAMP(precision=3),
    "TIMESTAMP": postgresql.TIMESTAMP(),
    "TIMESTAMP_NS": postgresql.TIMESTAMP(),
    "TIMESTAMP WITH TIME ZONE": postgresql.TIMESTAMP(timezone=True),
    "INTERVAL": postgresql.INTERVAL(),
    "UUID": sa.Uuid(),
    "JSON": sa.JSON(),
    "BIT": postgresql.BIT(varying=True),
}


def type_of(text: str) -> sa.types.TypeEngine[Any]:
    """The type that `DESCRIBE` names; NullType for one without a form of its own, which is told as its text.

    Args:
        text: `DECIMAL(12,2)`, `ENUM('a', 'b')`, `INTEGER[]`, `STRUCT(x INTEGER)`.
    """
    array = re.fullmatch(r"(.*?)((?:\[\d*\])+)", text, re.DOTALL)
    if array is not None:
        return sa.ARRAY(type_of(array[1]), dimensions=array[2].count("["))
    decimal = re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", text)
    if decimal is not None:
        return sa.Numeric(int(decimal[1]), int(decimal[2]))
    if text.startswith("ENUM("):
        return sa.Enum(*(label.replace("''", "'") for label in re.findall(r"'((?:[^']|'')*)'", text)))
    return _SIMPLE.get(text, sa.types.NullType())
