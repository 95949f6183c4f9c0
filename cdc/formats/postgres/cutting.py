"""Values cut as Debezium cuts them: its `TruncateColumn` (3.6). Pure.

It takes whatever is a String or a ByteBuffer in Java once it is converted, of a column that may be longer than
the limit, and counts UTF-16 code units or bytes. Of a character that is cut in half the half is left, escaped.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace

import orjson

from cdc.formats.debezium_json import text

from .form import Form, Transcoder

__all__ = ["cut_form", "shortened"]


def cut_form(form: Form, limit: int) -> Form:
    """The form of values of which at most `limit` units are left; the same where Java has no such object."""
    if form.json == "string":
        argument = limit
    elif form.json == "bytes" and form.semantic is None:  # decimals are numbers, and bits are arrays
        argument = ~limit
    else:
        return form
    whole = replace(form, snapshot=None)
    if form.transcoder is Transcoder.TEXT:
        # As many characters have at least as many units, and the rest of a large text is not looked at.
        whole = replace(whole, transcoder=Transcoder.TRUNCATED, argument=limit)
    return replace(
        form,
        transcoder=form.transcoder if form.transcoder is Transcoder.UNKNOWN else Transcoder.CUT,
        argument=argument,
        element=whole,
        zero=shortened(form.zero.encode(), argument).decode(),
        snapshot=None if form.snapshot is None else cut_form(form.snapshot, limit),
    )


def shortened(value: bytes, limit: int) -> bytes:
    """What is left of a value.

    Args:
        value: a JSON string, or null.
        limit: UTF-16 code units; ~n for n bytes, which are written in base64.
    """
    if not value.startswith(b'"'):
        return value
    if limit < 0:
        octets = b64decode(value[1 : 1 + (~limit + 2) // 3 * 4].rstrip(b'"'))
        return b'"' + b64encode(octets[:~limit]) + b'"'
    if len(value) - 2 <= limit:
        return value
    left = orjson.loads(value).encode("utf-16-le")[: 2 * limit].decode("utf-16-le", "surrogatepass")
    if "\ud800" <= left[-1:] <= "\udbff":
        return text(left[:-1])[:-1] + b'\\u%04X"' % ord(left[-1])
    return text(left)
