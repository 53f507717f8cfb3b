"""The files of archives: a row of the journal a line, as JSON with every column as text, compressed.

While a file is written its name ends in `.partial`. Each batch is a gzip member of its own, and is on the disk before
its rows leave the data base. A file whose command was killed is taken up again: what was written of an unfinished batch
is cut off, and rows that it has already are not written a second time. A complete file has a manifest beside it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .db.errors import StoreError
from .db.files import lock_file, make_private_folder, open_private, sync_folder

__all__ = ["ArchiveFile", "check_file", "locked_folder", "manifests", "read_rows"]

_PARTIAL, _MANIFEST = ".partial", ".manifest.json"
_TIME_FORMAT = "%Y%m%dT%H%M%S.%fZ"
_GZIP = 16 + zlib.MAX_WBITS
_READ = 1 << 20
_to_line = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class ArchiveFile:
    """One file of orders that is written."""

    def __init__(self, folder: Path, name: str, installation: str) -> None:
        """Open a file of this name, which is made unless it was broken off before. Raises OSError and StoreError."""
        self.name = name
        self._installation = installation
        self._final = folder / name
        self._path = folder / f"{name}{_PARTIAL}"
        descriptor = open_private(self._path)
        self._file = os.fdopen(descriptor, "r+b")
        #: The lines that are on the disk, as digests by the id of their order.
        self._written: dict[str, bytes] = {}
        self._resume()
        sync_folder(folder)

    @classmethod
    def left_in(cls, folder: Path, installation: str) -> ArchiveFile | None:
        """Return the file of an installation in a folder that was broken off; None: there is none."""
        form = re.compile(
            rf"({re.escape(_prefix(installation))}\d{{8}}T\d{{6}}\.\d{{6}}Z\.jsonl\.gz){re.escape(_PARTIAL)}"
        )
        names = sorted(match[1] for path in folder.iterdir() if (match := form.fullmatch(path.name)))
        return cls(folder, names[0], installation) if names else None

    @classmethod
    def new_in(cls, folder: Path, installation: str) -> ArchiveFile:
        """Return a new file of an installation in a folder."""
        name = f"{_prefix(installation)}{datetime.now(UTC).strftime(_TIME_FORMAT)}.jsonl.gz"
        return cls(folder, name, installation)

    @property
    def rows(self) -> int:
        """Return how many orders the file has."""
        return len(self._written)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, oldest first, except those that the file has already; all are on the disk when this returns."""
        lines = {}
        for row in sorted(rows, key=lambda row: int(row["id"])):
            line = _to_line({name: _as_text(value) for name, value in row.items()}).encode() + b"\n"
            id, digest = str(row["id"]), hashlib.sha256(line).digest()
            if self._written.get(id) != digest:
                lines[id] = (line, digest)
        if not lines:
            return
        self._file.write(gzip.compress(b"".join(line for line, _ in lines.values()), mtime=0))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._written.update({id: digest for id, (_, digest) in lines.items()})

    def finish(self, columns: Sequence[str]) -> None:
        """Write the manifest of a complete file, and give the file its name; without rows it is removed."""
        self._file.close()
        folder = self._final.parent
        if not self._written:
            self._path.unlink()
            sync_folder(folder)
            return
        ids = sorted(map(int, self._written))
        manifest = {
            "file": self.name,
            "sha256": _sha256(self._path),
            "rows": len(ids),
            "first_id": ids[0],
            "last_id": ids[-1],
            "columns": list(columns),
            "installation": self._installation,
            "finished": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
        path = _manifest_of(self._final)
        with os.fdopen(open_private(path), "wb") as file:
            file.truncate()
            file.write(json.dumps(manifest, indent=2).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._path.rename(self._final)
        sync_folder(folder)

    def close(self) -> None:
        """Close a file that was not finished: it is taken up again by the next command."""
        self._file.close()

    def _resume(self) -> None:
        """Read what the file has, and cut off what is no whole batch."""

        def add(line: bytes) -> None:
            self._written[json.loads(line)["id"]] = hashlib.sha256(line).digest()

        self._file.truncate(_read_lines(self._path, add))
        self._file.seek(0, os.SEEK_END)


def _prefix(installation: str) -> str:
    return f"xwrap-{installation[:8]}-orders-"


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_lines(path: Path, use: Callable[[bytes], None]) -> int:
    """Give `use` each line of the gzip members of a file that are whole; return where the last of them ends."""
    last = 0
    with path.open("rb") as file:
        decoder, parts = zlib.decompressobj(_GZIP), []
        while piece := file.read(_READ):
            while piece:
                try:
                    parts.append(decoder.decompress(piece))
                except zlib.error:
                    return last
                piece = decoder.unused_data
                if decoder.eof:
                    for line in b"".join(parts).splitlines(keepends=True):
                        use(line)
                    last = file.tell() - len(piece)
                    decoder, parts = zlib.decompressobj(_GZIP), []
    return last


def manifests(folder: Path) -> list[dict[str, Any]]:
    """Return the manifests of the archives in a folder, oldest first. Raises StoreError for one that cannot be read."""
    found = []
    for path in sorted(folder.glob(f"*{_MANIFEST}")):
        try:
            found.append(dict(json.loads(path.read_text("utf-8"))))
        except (ValueError, TypeError):
            raise StoreError(f"{path} is damaged") from None
    return found


def check_file(folder: Path, manifest: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the file of a manifest; None: it is as it was written."""
    path = folder / str(manifest["file"])
    try:
        digest = _sha256(path)
    except FileNotFoundError:
        return f"{path} is not there"
    return None if digest == manifest["sha256"] else f"{path} was changed"


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Give each order that the archives of a folder have, once, also those of a file that is not finished.

    An order that was archived twice, because an older backup of the data base was restored in between, comes as it is
    in the newest of the files. Raises StoreError for a file that is damaged.
    """
    seen: set[tuple[str, str, str]] = set()
    for path in sorted([*folder.glob("*.jsonl.gz"), *folder.glob(f"*.jsonl.gz{_PARTIAL}")], reverse=True):
        of = path.name.partition("-orders-")[0]
        for (registration, key), row in _rows_of(path).items():
            if (of, registration, key) not in seen:
                seen.add((of, registration, key))
                yield row


def _rows_of(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows of a file by registration and key; of one that was written twice the later one."""
    rows = {}

    def add(line: bytes) -> None:
        row = json.loads(line)
        rows[row["registration_id"], row["key"]] = row

    last = _read_lines(path, add)
    if last != path.stat().st_size and path.suffix != _PARTIAL:
        raise StoreError(f"{path} is damaged after {last} bytes")
    return rows


def _manifest_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".jsonl.gz") + _MANIFEST)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make a folder for its owner alone when there is none, and let one command at a time write into it.

    Raises StoreError.
    """
    try:
        make_private_folder(folder, "the folder of archives")
        descriptor = open_private(folder / ".lock")
    except FileExistsError:
        raise StoreError(f"{folder} is a file; name a folder") from None
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be used: {error.strerror}") from None
    try:
        try:
            lock_file(descriptor)
        except BlockingIOError:
            raise StoreError(f"another command writes into {folder}; wait until it has ended") from None
        yield
    finally:
        os.close(descriptor)
