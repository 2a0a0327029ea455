"""PgBouncer starts in both modes and pools connections; it behaves as production's does with default settings."""

from contextlib import closing

import psycopg
import pytest

from tests.support.pgbouncer import PoolMode, pgbouncer


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_pgbouncer_shares_connections_only_in_transaction_mode(dsn: str, mode: PoolMode) -> None:
    with (
        pgbouncer(dsn, mode) as bouncer,
        closing(psycopg.connect(bouncer.dsn, autocommit=True)) as first,
        closing(psycopg.connect(bouncer.dsn, autocommit=True)) as second,
    ):
        backends = {connection.execute("SELECT pg_backend_pid()").fetchone() for connection in (first, second)}
    assert len(backends) == (2 if mode == "session" else 1)


def test_pgbouncer_refuses_startup_options(dsn: str) -> None:
    with (
        pgbouncer(dsn, "transaction") as bouncer,
        pytest.raises(psycopg.OperationalError, match="unsupported startup parameter: options"),
    ):
        psycopg.connect(bouncer.dsn, options="-c timezone=UTC")


def test_stopped_pgbouncer_starts_again_at_the_same_address(dsn: str) -> None:
    with pgbouncer(dsn, "transaction") as bouncer:
        bouncer.stop()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(bouncer.dsn)
        bouncer.start()
        with closing(psycopg.connect(bouncer.dsn)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
