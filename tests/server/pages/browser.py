"""A browser without a window, and what it is shown: Chromium with selenium, where both are installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["NoBrowser", "chromium", "screenshot", "set_dark", "set_scripts", "set_size", "sign_in", "wait_for"]


class NoBrowser(Exception):
    """Why there is no browser here, in words."""


@contextmanager
def chromium() -> Iterator[Any]:
    """Give a browser. Raises NoBrowser."""
    try:
        from selenium import webdriver
    except ImportError:
        raise NoBrowser("selenium is not installed; pip install '.[test]' has it") from None
    driver, binary = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or binary is None:
        raise NoBrowser("Chromium or its driver is not here; apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    # As root Chromium runs without its sandbox only; it is shown pages of this machine alone.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"):
        options.add_argument(argument)
    options.add_argument("--disable-background-networking")
    options.add_argument("--hide-scrollbars")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def set_size(browser: Any, width: int, height: int = 900) -> None:
    """Show pages as a screen of this size does: also narrower than a window can be."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def set_dark(browser: Any, *, dark: bool) -> None:
    """Show pages as to somebody who likes them dark, or light."""
    feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def set_scripts(browser: Any, *, on: bool) -> None:
    """Let pages run scripts, or none."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not on})


def sign_in(browser: Any, url: str, auth: tuple[str, str]) -> None:
    """Sign in as a person does."""
    browser.get(url)
    for name, text in zip(("username", "password"), auth, strict=True):
        browser.find_element("name", name).send_keys(text)
    browser.find_element("css selector", "button.main").click()
    wait_for(browser, "header .brand")


def wait_for(browser: Any, selector: str) -> Any:
    """Return the first element of a CSS selector, when there is one."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(lambda found: found.find_element("css selector", selector))


def screenshot(browser: Any, path: Path) -> None:
    """Write a picture of the whole page, however long it is."""
    import base64

    size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    shot = browser.execute_cdp_cmd(
        "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip}
    )
    path.write_bytes(base64.b64decode(shot["data"]))
