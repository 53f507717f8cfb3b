"""A person with a browser, without the browser: cookies, forms and their tokens, over HTTP."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import requests

from bitmm.xwrap.server.pages.cookies import form_token
from bitmm.xwrap.server.passwords import Secret

__all__ = ["Visitor", "words"]


class Visitor:
    """Who looks at the page of a server; `host` is the name under which it is reached, where it is not its address."""

    def __init__(self, url: str, host: str | None = None) -> None:
        self.url = url
        self.session = requests.Session()
        # As a browser, which sends them with each request that a page of ours makes.
        self.session.headers.update({"Sec-Fetch-Site": "same-origin"})
        if host:
            self.session.headers["Host"] = host
        self.csrf = ""

    def get(self, path: str = "/", **options: Any) -> requests.Response:
        """Return a page, and remember the token of its forms."""
        return self._remember(self.session.get(self.url + path, timeout=30, **options))

    def post(self, path: str, /, **fields: str) -> requests.Response:
        """Send a form with the token that the last page had; return the page that it leads to."""
        data = {"csrf": self.csrf, **fields}
        answer = self.session.post(self.url + path, data=data, timeout=30, headers={"Origin": self.url})
        return self._remember(answer)

    def sign_in(self, auth: tuple[str, str]) -> requests.Response:
        """Sign in; return the page that it leads to."""
        self.get()
        return self.post("/page/sign-in", username=auth[0], password=auth[1])

    def resume(self, token: str) -> None:
        """Go on with the session of this token."""
        self.session.cookies.set("xwrap", token, domain=urlsplit(self.url).hostname)
        self.csrf = form_token(Secret(token))

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the browser keeps."""
        return dict(self.session.cookies)

    def _remember(self, answer: requests.Response) -> requests.Response:
        if found := re.search(r'name="csrf" value="([^"]+)"', answer.text):
            self.csrf = unescape(found[1])
        return answer


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def words(answer: requests.Response) -> str:
    """Return what a page says, without its tags."""
    parser = _Text()
    parser.feed(answer.text)
    return re.sub(r"\s+", " ", "".join(parser.parts))
