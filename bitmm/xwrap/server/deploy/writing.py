"""Writes the files of a plan: none over another one unless that is wanted, and secret ones for their owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from ..db.files import O_NOFOLLOW, give_to
from ..settings import SetupError
from .plans import DeployFile, Plan

__all__ = ["write_plan"]


def write_plan(plan: Plan, folder: Path, *, force: bool) -> list[Path]:
    """Write the files into a folder, which is made when there is none, and return their paths.

    Raises SetupError, before anything was written, when one of them is there already, unless `force`; and OSError.
    """
    there = [path for file in plan.files if (path := folder / file.name).exists() or path.is_symlink()]
    if there and not force:
        names = ", ".join(map(str, there))
        raise SetupError(f"there is {names} already, and nothing was written; choose another --out, or say --force")
    return [_write(folder / file.name, file, plan.owner) for file in plan.files]


def _write(path: Path, file: DeployFile, owner: int | None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if file.is_secret else 0o777)
    # Made under another name: what is there is whole, the file before or this one.
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    mode = 0o600 if file.is_secret else 0o644
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_NOFOLLOW | getattr(os, "O_BINARY", 0), mode)
    with os.fdopen(descriptor, "wb") as stream:
        if file.is_secret and owner is not None:
            give_to(descriptor, owner)
        stream.write(file.content)
    new.replace(path)
    return path
