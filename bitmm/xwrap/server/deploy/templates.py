"""The templates: files in which <<name>> stands for a value."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["deploy_file", "render"]

_FOLDER = Path(__file__).parent


def deploy_file(name: str) -> Path:
    """Return the path of a file beside the templates."""
    return _FOLDER / name


def render(template: str, **values: str) -> str:
    """Return a template, named by its path in this folder, with these values in their places."""
    text = (_FOLDER / template).read_text("utf-8")
    return re.sub(r"<<(\w+)>>", lambda found: values[found[1]], text)
