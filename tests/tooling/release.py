"""Check what `make release-check` built: the files in `dist`, their version, the tag and the changelog.

`python -m tests.tooling.release [TAG]` prints what is wrong and exits 1, or prints the files. Without a tag, the
section of the changelog may still be unreleased.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def find_problems(root: Path, tag: str | None) -> Iterator[str]:
    """Yield what keeps a checkout with built files from being released under a tag such as `v1.2.3`."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    version, stem = project["version"], f"{project['name'].replace('-', '_')}-{project['version']}"
    expected = [f"{stem}-py3-none-any.whl", f"{stem}.tar.gz"]
    built = list_built(root)
    if built != expected:
        yield f"dist contains {', '.join(built) or 'nothing'}, not {' and '.join(expected)}"
    if tag is not None and tag != f"v{version}":
        yield f"the tag is {tag}, not v{version}, which is the version in pyproject.toml"
    headings = re.findall(rf"^## {re.escape(version)} \((.+)\)$", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    if len(headings) != 1:
        yield f"CHANGELOG.md has {len(headings)} sections for {version}, not one"
    elif tag is not None and not re.fullmatch(r"\d{4}-\d\d-\d\d", headings[0]):
        yield f"the section for {version} in CHANGELOG.md has no date: {headings[0]}"


def list_built(root: Path) -> list[str]:
    """Return the names of the built files in alphabetical order, without those whose names begin with a dot."""
    return sorted(path.name for path in (root / "dist").glob("[!.]*"))


def main(arguments: Sequence[str]) -> int:
    """Check the checkout's `dist` for the tag in the arguments, or for none; return the exit code."""
    problems = list(find_problems(ROOT, arguments[0] if arguments else None))
    for problem in problems:
        sys.stderr.write(f"error: {problem}\n")
    if not problems:
        sys.stdout.writelines(f"dist/{name}\n" for name in list_built(ROOT))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
