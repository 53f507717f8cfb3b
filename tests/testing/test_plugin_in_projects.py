"""The plugin in a project of somebody else: the README's bot and its tests, and what pytest says of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

import bitmm.xwrap.testing.servers  # noqa: F401 - pytester forgets what is imported within its runs
from tests.support.bot_sample import write_sample

pytest_plugins = ["pytester", "bitmm.xwrap.testing.plugin"]

ROOT = Path(__file__).parents[2]
PLUGIN = ("-p", "bitmm.xwrap.testing.plugin", "-p", "no:cacheprovider", "-p", "no:schemathesis")


def test_the_bot_of_the_readme_passes_its_tests(pytester):
    write_sample(pytester.path)
    # This process has imported the plugin before.
    warnings = ("-W", "error", "-W", "ignore:Module already imported so cannot be rewritten")
    result = pytester.runpytest_inprocess(*PLUGIN, *warnings)
    result.assert_outcomes(passed=11)


def test_a_bot_that_orders_anew_fails_the_tests_of_the_readme(pytester):
    write_sample(pytester.path)
    bot = pytester.path / "dip_bot.py"
    careless = bot.read_text().replace("self.key = error.key or self.key", "pass")
    assert careless != bot.read_text()
    bot.write_text(careless)
    result = pytester.runpytest_inprocess(*PLUGIN, "-k", "asks_again")
    result.assert_outcomes(failed=1)


def test_a_planned_fault_that_does_not_happen_fails_the_test_in_words(pytester):
    pytester.makepyfile(
        """
        def test_faults(backend, faults):
            faults.lose_answer("buy")
            faults.refuse("sell", times=2)
            backend.balance()

        def test_optional(backend, faults):
            faults.lose_answer("buy", optional=True)

        def test_exchange(kraken_exchange):
            kraken_exchange.fault("reset_after", path="AddOrder")

        def test_optional_exchange(kraken_exchange):
            kraken_exchange.fault("reset_after", path="AddOrder", optional=True)

        def test_its_own_failure_comes_first(faults):
            faults.lose_answer("buy")
            assert 1 == 2

        def test_after_it(backend, faults):
            assert backend.buy("USD", "BTC", 1)["status"] == "filled"
        """
    )
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(passed=3, failed=3)
    result.stdout.fnmatch_lines(
        [
            "faults.lose_answer('buy') was planned, and no such call was made",
            "faults.refuse('sell') was planned 2 times more, and the paper exchange got no such call",
            "say optional=True where it need not happen",
            "kraken_exchange.fault('reset_after', path='AddOrder') was planned, and no such request came*",
            "*assert 1 == 2*",
        ]
    )


def test_fixtures_of_ones_own_hide_ours_which_have_longer_names(pytester):
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def backend():
            return "my own backend"

        @pytest.fixture
        def faults():
            return "my own faults"
        """
    )
    pytester.makepyfile(
        """
        def test_names(backend, faults, paper, xwrap_backend, xwrap_faults, xwrap_paper):
            assert (backend, faults) == ("my own backend", "my own faults")
            xwrap_paper.price(94000)
            xwrap_faults.lose_answer("buy")
            assert xwrap_backend.buy("USD", "BTC", 1)["spent"] == 94000
            assert paper is xwrap_paper
        """
    )
    pytester.runpytest_inprocess(*PLUGIN, "--import-mode=importlib").assert_outcomes(passed=1)


def test_where_the_server_is_not_installed_the_fixture_says_what_is_missing(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    pytester.makeconftest("import sys; sys.modules['starlette'] = None")
    pytester.makepyfile("def test_it(backend): pass\n\ndef test_other(): pass")
    result = pytester.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the fixtures run a real server: pip install 'bitmm?testing?'"])


def test_loading_the_plugin_imports_neither_client_nor_server_nor_exchanges():
    program = (
        "import sys, pytest; before = set(sys.modules); import bitmm.xwrap.testing.plugin; "
        "print(*sorted(set(sys.modules) - before - set(sys.stdlib_module_names)))"
    )
    environ = {"PYTHONPATH": ":".join([str(ROOT), *sys.path])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, check=True)
    assert done.stdout.split() == ["bitmm", "bitmm.xwrap", "bitmm.xwrap.testing", "bitmm.xwrap.testing.plugin"]
