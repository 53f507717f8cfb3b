"""Every Python example of the README runs, in its order, against a real server."""

from __future__ import annotations

import json
import re
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap import exchanges
from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import APIError, InsufficientFunds

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_examples_of_the_readme_run(serving, capsys):
    assert len(BLOCKS) >= 6
    names = {}
    with serving() as server:
        server.account("ann", "her password")
        for block in BLOCKS:
            exec(compile(block.replace("http://localhost:8000", server.url), "README.md", "exec"), names)
        assert names["backend"].orders("open") == []
    printed = capsys.readouterr().out
    assert "0.1 BTC for" in printed
    assert "too much: not enough USD" in printed


def test_the_readme_names_every_setting_that_the_server_reads():
    from bitmm.xwrap.server import settings

    source = Path(settings.__file__).read_text()
    names = set(re.findall(r"XWRAP_[A-Z_]*[A-Z]", source)) | {"XWRAP_URL"}
    assert {name for name in names if name not in README} == set()


def test_the_table_of_exchanges_is_made_from_the_classes():
    from bitmm.xwrap.exchanges import EXCHANGES, capabilities, load

    shown = README.partition("a test holds it here -->\n")[2].partition("\n<!-- end -->")[0]
    assert shown.splitlines() == capabilities.lines([load(id) for id in EXCHANGES])


class Shop(BaseHTTPRequestHandler):
    """The corner shop of the README's example."""

    sold: ClassVar[list] = []

    def do_GET(self):
        self._answer(200, {"price": "80000.50"} if self.path == "/price" else {"EUR": "1000.00", "BTC": "0.5"})

    def do_POST(self):
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        if self.headers["Authorization"] != "Bearer token" or Decimal(form["btc"]) > 1:
            self._answer(402, {"error": "too much"})
            return
        self.sold.append((self.path, form))
        eur = Decimal(form["btc"]) * Decimal("80000.50")
        self._answer(200, {"number": len(self.sold), "price": "80000.50", "eur": str(eur)})

    def _answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


def test_an_exchange_is_added_by_one_file_and_one_line(serving, tmp_path, monkeypatch):
    (block,) = [block for block in BLOCKS if "class Corner" in block]
    assert len(block.strip().splitlines()) <= 40
    (tmp_path / "corner_shop.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(exchanges.EXCHANGES, "corner", "corner_shop:Corner")
    shop = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=shop.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{shop.server_port}"
        with serving(exchanges=("corner",), exchange_urls={"corner": url}) as server:
            backend = XWrap(server.url).create_backend(*server.account(), "corner", "", "token", "")
            assert backend.exchange_rate("EUR", "BTC")["buy"] == Decimal("80000.50")
            assert backend.balance() == {"EUR": Decimal("1000.00"), "BTC": Decimal("0.5")}
            order = backend.buy("EUR", "BTC", "0.001")
            assert (order["filled"], order["spent"]) == (Decimal("0.001"), Decimal("80.00050"))
            with pytest.raises(InsufficientFunds, match="too much"):
                backend.buy("EUR", "BTC", 2)
            with pytest.raises(APIError, match="no call for 'withdraw'"):
                backend.send_to_address("BTC", 1, "x")
        assert [path for path, _ in Shop.sold] == ["/buy"]
    finally:
        shop.shutdown()
        shop.server_close()
