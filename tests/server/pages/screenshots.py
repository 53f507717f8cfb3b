"""Pictures of every view of the owner's page, and its figures.

    python -m tests.server.pages.screenshots FOLDER [--docs]

It starts a server and a local Kraken, and writes each view light, dark, and 360 pixels wide into FOLDER. It prints the
size of each view, its requests, and when it is painted on this machine. `--docs` writes the two pictures of the
server's README anew instead.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bitmm.xwrap.server.runner import run_in_background
from bitmm.xwrap.server.settings import Settings
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.conftest import Server
from tests.server.pages.browser import chromium, screenshot, set_dark, set_size, sign_in
from tests.server.pages.world import VIEWS, populate

#: Name, width and whether it is dark.
LOOKS = (("light", 1100, False), ("dark", 1100, True), ("phone", 360, False), ("phone-dark", 360, True))
DOCS = Path(__file__).parents[3] / ".github" / "images"

#: The requests, their bytes, and the milliseconds to the first byte and to the first paint, when it was painted.
_FIGURES = """
const done = arguments[0];
new PerformanceObserver(list => {
  const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  const size = all.reduce((sum, each) => sum + each.encodedBodySize, 0);
  done([all.length, size, all[0].responseStart, list.getEntriesByName("first-paint")[0].startTime]);
}).observe({type: "paint", buffered: true});
"""


@contextmanager
def world() -> Iterator[tuple[Server, tuple[str, str], int]]:
    """Give a server with an account that has something in every view."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xwrap-page-")))
        venue = stack.enter_context(KrakenVenue())
        settings = Settings.read(
            {}, data=data, port=0, exchange_urls={"kraken": venue.url}, reconcile_grace_seconds=9999
        )
        url = stack.enter_context(run_in_background(settings))
        server = Server(url, data, data / "xwrap.sqlite3")
        auth, id = populate(server, venue=venue)
        yield server, auth, id


def shoot(browser: Any, url: str, id: int, folder: Path) -> None:
    """Write each view in each look, and print the figures of each view."""
    for name, path in VIEWS.items():
        browser.get(url + path.replace("ID", str(id)))
        for look, width, dark in LOOKS:
            set_size(browser, width)
            set_dark(browser, dark=dark)
            if look == "light":
                print_figures(browser, name, url + path.replace("ID", str(id)))
            screenshot(browser, folder / f"{name}-{look}.png")


def print_figures(browser: Any, name: str, url: str) -> None:
    """Load a view once more, and print its figures."""
    browser.get(url)
    requests, size, answered, painted = browser.execute_async_script(_FIGURES)
    times = f"first byte {answered:.0f} ms, first paint {painted:.0f} ms"
    print(f"{name:12} {size / 1000:6.1f} kB in {requests} requests, {times}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.server.pages.screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the pictures are written")
    parser.add_argument("--docs", action="store_true", help="write the two pictures of the server's README anew")
    options = parser.parse_args()
    if not options.docs and options.folder is None:
        parser.error("name a folder, or say --docs")
    with world() as (server, auth, id), chromium() as browser:
        set_size(browser, 1100)
        sign_in(browser, server.url, auth)
        if options.docs:
            DOCS.mkdir(parents=True, exist_ok=True)
            for name, look, width, dark in (("overview", "light", 1000, False), ("orders", "phone-dark", 360, True)):
                browser.get(server.url + VIEWS[name])
                set_size(browser, width, 700)
                set_dark(browser, dark=dark)
                browser.save_screenshot(str(DOCS / f"page-{name}-{look}.png"))
        else:
            options.folder.mkdir(parents=True, exist_ok=True)
            shoot(browser, server.url, id, options.folder)


if __name__ == "__main__":
    main()
