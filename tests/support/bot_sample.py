"""The bot of the README of `bitmm.xwrap.testing` and its tests, as the files of a project."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "bitmm/xwrap/testing/README.md"


def write_sample(folder: Path) -> None:
    """Write the bot and its tests into a folder, in two files as the README says."""
    text = README.read_text(encoding="utf-8")
    bot, tests = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:2]
    first_line = re.search(r"begins with `(from dip_bot import .*?)`", text)[1]
    (folder / "dip_bot.py").write_text(bot)
    (folder / "test_dip_bot.py").write_text(f"{first_line}\n{tests}")
