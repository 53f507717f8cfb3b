"""The XWRAP_ variables: all that cannot be used, not only the first one, by which a server's start is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..settings import Settings, SettingsError
from .findings import Finding, finding_of

__all__ = ["read_settings"]

_CHECK = "settings"
#: What the other checks need, and what the meaning of other variables depends on.
_FIRST = ("XWRAP_DATA_DIR", "XWRAP_MASTER_KEY_FILE", "XWRAP_DATABASE_URL", "XWRAP_EXCHANGES")


def read_settings(environ: Mapping[str, str], data: Path | None) -> tuple[Settings, list[Finding]]:
    """Return the settings without those that cannot be used, and a finding for each of these."""
    try:
        settings = Settings.read(environ, data=data)
    except SettingsError:
        return _read_each(environ, data)
    usual = {"data": str(settings.data), "master_key_file": str(settings.data / "master.key")}
    changed = [f"{name}={text}" for name, text in settings.changed().items() if usual.get(name) != text]
    return settings, [Finding(_CHECK, "ok", ", ".join(changed) or "the defaults")]


def _read_each(environ: Mapping[str, str], data: Path | None) -> tuple[Settings, list[Finding]]:
    usable: dict[str, str] = {}
    findings = []
    names = [name for name in environ if name.upper().startswith("XWRAP_")]
    for name in sorted(names, key=lambda name: (name not in _FIRST, name)):
        try:
            Settings.read({**usable, name: environ[name]}, data=data)
        except SettingsError as error:
            findings.append(finding_of(_CHECK, error))
        else:
            usable[name] = environ[name]
    return Settings.read(usable, data=data), findings
