"""What the tests of the client's commands share."""

from __future__ import annotations

import pytest

from bitmm.xwrap.client import XWrap


@pytest.fixture(scope="session", autouse=True)
def _no_keyring_of_a_person():
    """No test reads or changes the keyring of whoever runs it."""
    try:
        import keyring
        from keyring.backends.null import Keyring
    except ModuleNotFoundError:
        yield
        return
    before = keyring.get_keyring()
    keyring.set_keyring(Keyring())
    yield
    keyring.set_keyring(before)


@pytest.fixture
def stranger(tmp_path, server, auth):
    """A person with an account, who has not logged in."""
    from tests.support.shell import Shell

    return Shell(tmp_path, server.url, auth)


@pytest.fixture
def ann(stranger):
    """A person who has logged in, and has a registration at paper."""
    return logged_in(stranger)


@pytest.fixture(scope="module")
def reader(tmp_path_factory, server):
    """The same for tests that change neither the account nor the login."""
    from tests.support.shell import Shell

    return logged_in(Shell(tmp_path_factory.mktemp("home"), server.url, server.account()))


def logged_in(shell):
    shell.backend = XWrap(shell.url).create_backend(*shell.auth, "paper", "", "", "", label="play money")
    shell.log_in()
    return shell
