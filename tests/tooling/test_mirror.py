"""The tests mirror the tree: most modules have a test file of their name in the folder of their name.

The module `receiver/web/bodies.py` is mirrored by `tests/unit/web/test_bodies.py` or
`tests/integration/web/test_bodies.py`, and `schemas/fields.py` by `tests/unit/schemas/test_fields.py`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIN_SHARE = 0.8
WITHOUT_TESTS = {"__init__.py", "__main__.py"}


def iterate_modules(root: Path) -> Iterator[Path]:
    """Yield the paths of all modules below their folder in the tests; `schemas` is a symlink in `receiver`."""
    for package, prefix in (("receiver", Path()), ("schemas", Path("schemas"))):
        for path in sorted((root / package).rglob("*.py")):
            module = prefix / path.relative_to(root / package)
            is_in_symlink = package == "receiver" and module.parts[0] == "schemas"
            if path.name not in WITHOUT_TESTS and not is_in_symlink:
                yield module


def find_unmirrored(root: Path) -> list[Path]:
    """Return the modules that have no test file of their name."""
    return [
        module
        for module in iterate_modules(root)
        if not any(
            (root / "tests" / kind / module.parent / f"test_{module.name}").is_file()
            for kind in ("unit", "integration")
        )
    ]


def compute_share(root: Path) -> float:
    """Return the share of modules that have a test file of their name."""
    return 1 - len(find_unmirrored(root)) / len(list(iterate_modules(root)))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree with a symlink, in which two of four modules are mirrored."""
    for path in (
        "receiver/__init__.py",
        "receiver/reconcile.py",
        "receiver/web/__main__.py",
        "receiver/web/bodies.py",
        "receiver/web/auth/keys.py",
        "schemas/keys.py",
        "tests/integration/test_reconcile.py",
        "tests/unit/web/test_bodies.py",
        "tests/unit/web/test_keys.py",
        "tests/acceptance/schemas/test_keys.py",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "receiver" / "schemas").symlink_to(tmp_path / "schemas")
    return tmp_path


def test_modules_are_listed_once_and_without_packages(tree: Path) -> None:
    modules = [module.as_posix() for module in iterate_modules(tree)]
    assert modules == ["reconcile.py", "web/auth/keys.py", "web/bodies.py", "schemas/keys.py"]


def test_only_test_file_in_the_same_folder_mirrors_a_module(tree: Path) -> None:
    assert [module.as_posix() for module in find_unmirrored(tree)] == ["web/auth/keys.py", "schemas/keys.py"]
    assert compute_share(tree) == 0.5


def test_most_modules_have_a_test_file_of_their_name() -> None:
    share, unmirrored = compute_share(ROOT), find_unmirrored(ROOT)
    listed = "\n".join(f"  {module.as_posix()}" for module in unmirrored)
    assert share >= MIN_SHARE, (
        f"Only {share:.0%} of the modules have a test file of their name; at least {MIN_SHARE:.0%} must. Add "
        f"tests/unit/FOLDER/test_MODULE.py or tests/integration/FOLDER/test_MODULE.py for some of:\n{listed}"
    )
