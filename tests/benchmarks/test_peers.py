"""A short run of `peers`, where they are installed."""

import shutil
from importlib.util import find_spec

import pytest

from tests.benchmarks.peers import PeersLoad, PeersMissing, compare, find_peers


@pytest.mark.slow
@pytest.mark.skipif(find_spec("celery") is None, reason="the group peers is not installed")
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_peers_store_what_they_acknowledge() -> None:
    contest = compare(PeersLoad(rounds=1, seconds=1, connections=4, workers=1))

    names = [contender.name for contender in contest.contenders]
    assert names == ["empty view", "intake", "one transaction each", "Celery", "procrastinate"]
    assert contest.checks["callbacks_of_peers"] >= contest.checks["acknowledged_by_peers"] > 0


def test_missing_peer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.benchmarks.peers.find_spec", lambda _: None)

    with pytest.raises(PeersMissing, match="uv run --group peers"):
        find_peers()
