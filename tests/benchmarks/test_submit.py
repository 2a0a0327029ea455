"""The benchmark `submit`: its calls, and a short run."""

import shutil

import orjson
import pytest

from receiver.schemas.api.requests import BatchSchema, SubmissionSchema
from tests.benchmarks.submissions import BATCH_PATH, BATCH_SIZE, SINGLE_PATH, write_submissions
from tests.benchmarks.submit import SubmitLoad, compare


@pytest.mark.parametrize(("path", "schema"), [(SINGLE_PATH, SubmissionSchema()), (BATCH_PATH, BatchSchema())])
def test_written_submissions_are_valid_and_differ(path: str, schema: SubmissionSchema | BatchSchema) -> None:
    with write_submissions("key", path, 3) as requests:
        content = requests.path.read_bytes()

    calls = {content[start : start + requests.length] for start in range(0, len(content), requests.length)}
    assert len(calls) == requests.count == 3
    for call in calls:
        head, _, body = call.partition(b"\r\n\r\n")
        assert head.startswith(f"POST {path} HTTP/1.1\r\n".encode())
        assert f"Content-Length: {len(body)}".encode() in head
        loaded = schema.load(orjson.loads(body))
        assert len(loaded.get("requests", [loaded])) == (1 if path == SINGLE_PATH else BATCH_SIZE)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_submit_counts_what_was_stored() -> None:
    results = compare(SubmitLoad(rounds=1, seconds=1, connections=4, batch_connections=2, workers=1))

    assert [contender.name for contender in results.contenders] == [
        "one request each",
        "empty view",
        "batches of 1,000",
    ]
    assert results.checks["requests"] >= results.checks["accepted"] > BATCH_SIZE
    assert len(results.goals) == 2
