"""Conversion of values to jsonb parameters."""

import orjson

from receiver.store.database import Unstorable


def as_jsonb(value: object) -> str:
    """Return `value` as JSON text.

    Raises:
        Unstorable: the value contains a lone surrogate or an integer beyond 64 bits, or is nested too deeply.
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise Unstorable(str(error)) from error
