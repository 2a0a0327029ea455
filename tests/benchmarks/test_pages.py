import pytest

from tests.benchmarks.pages import PagesLoad, compare

pytestmark = pytest.mark.slow


def test_every_page_is_timed() -> None:
    results = compare(PagesLoad(jobs=10_000, calls=2))
    document = results.document()

    assert results.goals[-1].is_reached, results.table()  # the size; the time depends on what else runs
    assert {page["name"] for page in document["pages"]} >= {"overview", "job", "callback"}
    assert document["events"] > 10_000
