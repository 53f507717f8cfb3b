"""A keyring for tests, and one that is there and does not work."""

from __future__ import annotations

from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError


class DictKeyring(KeyringBackend):
    """Keeps passwords in this process."""

    priority = 9

    def __init__(self) -> None:
        super().__init__()
        self.passwords: dict[tuple[str, str], str] = {}

    def set_password(self, service: str, username: str, password: str) -> None:
        self.passwords[service, username] = password

    def get_password(self, service: str, username: str) -> str | None:
        return self.passwords.get((service, username))

    def delete_password(self, service: str, username: str) -> None:
        if self.passwords.pop((service, username), None) is None:
            raise PasswordDeleteError("there is none")


class LockedKeyring(DictKeyring):
    """As a desktop's whose bus does not answer: it fails with an error of another library."""

    def set_password(self, service: str, username: str, password: str) -> None:
        raise TimeoutError("no answer")

    get_password = delete_password = lambda self, service, username: self.set_password(service, username, "")
