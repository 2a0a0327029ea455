"""`python -m tests.browser.screenshots`: screenshots of every page, narrow and wide, light and dark."""

import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Literal

import click
from playwright.sync_api import Page

from receiver.devtools.embedded import EmbeddedPostgres
from tests.browser.chromium import log_in, running_chromium
from tests.browser.service import AdminService, running_service
from tests.browser.tour import list_pages

_WIDTHS = (360, 1440)
_HEIGHT = 900
_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--page", "names", multiple=True, help="Only this page; repeatable.")
def take_screenshots(directory: Path, names: tuple[str, ...]) -> None:
    """Write screenshots of every page, as PAGE-WIDTH-SCHEME.png, to a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        (home / "web").mkdir()
        with (
            EmbeddedPostgres(home / "postgres") as postgres,
            running_service(postgres.dsn, home / "web") as service,
            running_chromium() as browser,
        ):
            pages = list_pages(service.stories)
            shown = {name: target for name, target in pages.items() if not names or name in names}
            for width, scheme in product(_WIDTHS, _SCHEMES):
                context = browser.new_context(viewport={"width": width, "height": _HEIGHT}, color_scheme=scheme)
                _photograph(context.new_page(), service, shown, directory, f"{width}-{scheme}.png")
                context.close()


def _photograph(page: Page, service: AdminService, targets: Mapping[str, str], directory: Path, suffix: str) -> None:
    """Write a screenshot of the sign-in, and one of each page by its name and target."""
    page.goto(f"{service.origin}/admin/login")
    page.screenshot(path=directory / f"login-{suffix}", full_page=True)
    log_in(page, service.origin, service.admin_key)
    for name, target in targets.items():
        page.goto(f"{service.origin}{target}")
        page.screenshot(path=directory / f"{name}-{suffix}", full_page=True)


if __name__ == "__main__":
    take_screenshots()
