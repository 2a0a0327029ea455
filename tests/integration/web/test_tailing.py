"""Followers of one process share one poll, and nobody polls without them."""

import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from receiver.domain.jobs import JobStatus
from receiver.domain.tail import TailCursor
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import StoreUnavailable
from receiver.store.tail import Changes, read_changes
from receiver.web.tailing import Followers
from tests.support.factories import event
from tests.support.processes import wait_for


def test_followers_share_one_poll(database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    def count_and_read(used: Database, cursors: Collection[TailCursor]) -> Changes:
        reads.append(len(cursors))
        return read_changes(used, cursors)

    monkeypatch.setattr("receiver.web.tailing.read_changes", count_and_read)
    monkeypatch.setattr("receiver.web.tailing._POLL_INTERVAL_S", 0.1)
    with closing(Followers(database)) as followers:
        time.sleep(0.3)
        assert reads == []
        start = followers.follow(None, 0.0, list).cursor
        with ThreadPoolExecutor(20) as pool:
            pages = [pool.submit(followers.follow, start, 10.0, list) for _ in range(20)]
            wait_for(lambda: reads[-1] == 20)
            reconcile(connection, [event("ref-1", JobStatus.ACCEPTED)])
            connection.execute("UPDATE events SET received_at = now()")
            assert {len(page.result(5).items) for page in pages} == {1}
        assert max(reads) == 20
        time.sleep(0.3)
        polls = len(reads)
        time.sleep(0.3)
        assert len(reads) == polls


def test_closing_answers_followers(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.web.tailing._POLL_INTERVAL_S", 0.1)
    followers = Followers(database)
    start = followers.follow(None, 0.0, list).cursor
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(followers.follow, start, 30.0, list)
        time.sleep(0.3)
        followers.close()
        assert page.result(5).items == []


def test_follower_without_a_database_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.web.tailing._TIMEOUT_S", 0.2)
    database = Database("postgresql://127.0.0.1:9/none")
    with closing(Followers(database)) as followers, pytest.raises(StoreUnavailable):
        followers.follow(None, 0.1, list)
    database.close()
