"""The contract as JSON and as a page: all of it, and a browser loads nothing but the style."""

from __future__ import annotations

import re
import shlex
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
import requests
import yaml

from bitmm.xwrap.codes import CODES
from bitmm.xwrap.server.reference.document import SOURCE
from bitmm.xwrap.server.reference.operations import groups

DOCUMENT = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
METHODS = {"get", "post", "put", "patch", "delete"}
#: Elements that have no end.
VOID = {"meta", "link"}


class Page(HTMLParser):
    """What a page has; `wrong`: where its elements are not closed in their order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.ids, self.links, self.loads, self.texts = [], [], [], [], [], []
        self.tags, self.attributes = set(), set()
        self.feed(text)
        self.close()
        self.wrong += self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        self.attributes |= given.keys()
        if tag not in VOID:
            self.open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        self.loads += [given[name] for name in ("src", "data", "action", "poster") if name in given]
        self.loads += [given["href"]] if tag == "link" else []

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, text):
        self.texts.append(text)


@pytest.fixture(scope="module")
def answer(server):
    return requests.get(f"{server.url}/docs", timeout=30)


@pytest.fixture(scope="module")
def page(answer):
    return Page(answer.text)


def test_the_json_is_the_yaml_as_data(server):
    as_json = requests.get(f"{server.url}/openapi.json", timeout=30)
    as_yaml = requests.get(f"{server.url}/openapi.yaml/", timeout=30)
    assert as_json.headers["Content-Type"] == "application/json"
    assert as_json.json() == yaml.safe_load(as_yaml.text) == DOCUMENT


def test_every_call_parameter_schema_and_code_is_on_the_page(page):
    text = re.sub(r"\s+", " ", "".join(page.texts))
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS & item.keys():
            operation = item[method]
            assert f"{method.upper()} {path} " in text
            assert operation["operationId"] in page.ids
            assert set(operation["responses"]) <= set(re.findall(r"\w+", text))
    for name in DOCUMENT["components"]["parameters"].values():
        assert name["name"] in text
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert f"schema-{name}" in page.ids
        assert all(field in text for field in schema.get("properties", {}))
    for code in DOCUMENT["components"]["schemas"]["Error"]["properties"]["code"]["enum"]:
        assert f"code-{code}" in page.ids
        assert CODES[code].meaning.replace("`", "") in text


def test_every_element_is_closed_every_id_is_there_once_and_every_link_leads_somewhere(page):
    assert page.wrong == []
    assert len(page.ids) == len(set(page.ids))
    inner = [link for link in page.links if link.startswith("#")]
    assert len(inner) > 200
    assert {link[1:] for link in inner} <= set(page.ids)
    assert {link for link in page.links if not link.startswith("#")} == {"/openapi.yaml", "/openapi.json"}


def test_a_browser_runs_nothing_and_loads_nothing_but_the_style(server, answer, page):
    assert page.loads == ["/docs/style.css"]
    assert not page.tags & {"script", "iframe", "img", "style", "form", "object", "base"}
    assert not {name for name in page.attributes if name.startswith("on") or name == "style"}
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    style = requests.get(f"{server.url}/docs/style.css", timeout=30)
    assert style.headers["Content-Type"] == "text/css; charset=utf-8"
    assert "url(" not in style.text
    assert "@import" not in style.text


def test_the_owners_page_leads_to_it(server):
    assert '<a href="/docs">' in requests.get(f"{server.url}/", timeout=30).text


def test_the_page_is_small_and_made_once(server, answer):
    assert 50_000 < len(answer.content) < 400_000
    assert requests.get(f"{server.url}/docs/", timeout=30).content == answer.content


@pytest.fixture(scope="module")
def example_server(serving):
    """A server on which the examples mean something: ann has the registrations 1 and 2."""
    with serving(order_quota=1000) as server:
        auth = server.account("ann")
        assert [server.registration(auth) for _ in range(2)] == [1, 2]
        yield server, auth


def test_every_example_is_a_call_that_the_server_understands(example_server):
    server, auth = example_server
    examples = [each.example for group in groups() for each in group.operations]
    assert len(examples) > 50
    # What ends the account's ways to call is called last.
    for example in sorted(examples, key=lambda one: ("/account" in one, "-X DELETE" in one and "/exchanges/1" in one)):
        made = request(example, server.url, auth)
        code = "" if made.ok else made.json()["code"]
        # There is no order 17 and no address 4, and paper has not all calls.
        assert code in {"", "unsupported", "order_not_found", "not_found", "frozen"}, (example, made.text)
        assert code != "not_found" or re.search(r"/addresses/4|/credentials/bot1|/exchanges/1", example)


def request(example, url, auth):
    """Make the request of a command of curl."""
    words = shlex.split(example)
    assert words.pop(0) == "curl"
    target = words.pop()
    given = list(zip(words[::2], words[1::2], strict=True))
    headers = dict(value.split(": ", 1) for name, value in given if name == "-H")
    data = "&".join(requests.compat.quote(v, safe="=") for name, v in given if name == "--data-urlencode")
    data = data or next((value for name, value in given if name == "-d"), None)
    if data and "Content-Type" not in headers:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    method = dict(given).get("-X") or ("POST" if data else "GET")
    parts = urlsplit(target)
    assert f"{parts.scheme}://{parts.netloc}" == DOCUMENT["servers"][0]["url"]
    where = f"{url}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    login = auth if ("-u", "ann") in given else None
    return requests.request(method, where, data=data, headers=headers, auth=login, timeout=30)
