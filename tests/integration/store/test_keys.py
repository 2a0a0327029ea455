"""API keys in the database: the calls that a key may make in a minute."""

from uuid import uuid4

from receiver.store.database import Connection
from receiver.store.keys import lease_tokens


def test_rate_limit_resets_every_minute(connection: Connection) -> None:
    key = uuid4()
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 8
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 2
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 0
    connection.execute("UPDATE rate_limit_usage SET minute = minute - interval '1 minute' WHERE key_id = %s", [key])
    again = lease_tokens(connection, key, per_minute=10, count=8)
    assert (again.granted, again.remaining) == (8, 2)
    assert 0 < again.resets_in <= 60
