"""The check of a release: the built files, the version, the tag and the changelog."""

from pathlib import Path

import pytest

from tests.tooling.release import ROOT, find_problems, list_built

FILES = ["callback_receiver-1.2.3-py3-none-any.whl", "callback_receiver-1.2.3.tar.gz"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of version 1.2.3 that can be released."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "callback-receiver"\nversion = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2026-12-01)\n\n## 1.2.2 (2026-11-01)\n")
    (tmp_path / "dist").mkdir()
    for name in [*FILES, ".gitignore"]:
        (tmp_path / "dist" / name).touch()
    return tmp_path


@pytest.mark.parametrize("tag", [None, "v1.2.3"])
def test_complete_release_has_no_problems(tag: str | None, checkout: Path) -> None:
    assert list(find_problems(checkout, tag)) == []
    assert list_built(checkout) == FILES


def test_other_tag_is_a_problem(checkout: Path) -> None:
    [problem] = find_problems(checkout, "1.2.3")
    assert problem == "the tag is 1.2.3, not v1.2.3, which is the version in pyproject.toml"


def test_missing_or_other_file_is_a_problem(checkout: Path) -> None:
    (checkout / "dist" / FILES[0]).rename(checkout / "dist" / FILES[0].replace("1.2.3", "1.2.2"))
    [problem] = find_problems(checkout, None)
    assert problem.startswith("dist contains callback_receiver-1.2.2-py3-none-any.whl, callback_receiver-1.2.3.tar.gz")


@pytest.mark.parametrize(("changelog", "count"), [("## 1.2.30 (2026-12-01)\n", 0), ("## 1.2.3 (a)\n" * 2, 2)])
def test_changelog_must_have_one_section(changelog: str, count: int, checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text(changelog)
    assert list(find_problems(checkout, "v1.2.3")) == [f"CHANGELOG.md has {count} sections for 1.2.3, not one"]


def test_section_needs_a_date_only_for_a_tag(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("## 1.2.3 (unreleased)\n")
    assert list(find_problems(checkout, None)) == []
    assert list(find_problems(checkout, "v1.2.3")) == ["the section for 1.2.3 in CHANGELOG.md has no date: unreleased"]


def test_changelog_has_a_section_for_the_version() -> None:
    assert [problem for problem in find_problems(ROOT, None) if "CHANGELOG" in problem] == []
