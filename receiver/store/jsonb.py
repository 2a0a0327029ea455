"""Values as jsonb parameters."""

import orjson

from receiver.store.database import Unstorable


def as_jsonb(value: object) -> str:
    """Give `value` as JSON text.

    Raises:
        Unstorable: a text holds a lone surrogate, an integer exceeds 64 bits, or it is nested too deeply.
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise Unstorable(str(error)) from error
