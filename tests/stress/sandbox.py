"""Shows by strace that the server and its backup need no system call that their unit of systemd forbids.

    python -m tests.stress.sandbox

`xwrap demo`, which is server and client in one process, and `xwrap backup` run under strace, and with the promise that
memory is never both written and executed (MemoryDenyWriteExecute=) where the kernel takes it. What they called is
compared with the SystemCallFilter= of `xwrap deploy systemd`, whose sets `systemd-analyze` names. Exits with 1 when a
call is not allowed, or a command fails.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bitmm.xwrap.server.deploy.templates import render
from tests.support.command import ENVIRON

#: SQLite gives the files of its log to the owner of the data base when it runs as root, and goes on when it may not.
REFUSED_WITHOUT_HARM = {"fchown"}
#: PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN of linux/prctl.h (since 6.3). -1: the kernel does not know it.
PROGRAM = """
import ctypes, runpy, sys
print("memory is never written and executed:", ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0, flush=True)
sys.argv = ["xwrap", *sys.argv[1:]]
runpy.run_module("bitmm.xwrap", run_name="__main__")
"""


def sets() -> dict[str, list[str]]:
    """The sets of system calls that this systemd knows: what each of them lists, which may be sets again."""
    found: dict[str, list[str]] = {}
    name = ""
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        if line.startswith("@"):
            name = line.strip()
            found[name] = []
        elif line.startswith("#"):
            break  # calls of the kernel that are in no set
        elif name and line.strip() and not line.strip().startswith("#"):
            found[name].append(line.strip())
    return found


def members(name: str, known: dict[str, list[str]]) -> set[str]:
    return {call for part in known[name] for call in (members(part, known) if part.startswith("@") else {part})}


def allowed() -> set[str]:
    """The calls that the unit allows: its lines are read from the first to the last."""
    known = sets()
    calls = members("@default", known)
    for line in re.findall(r"^SystemCallFilter=(.*)$", render("systemd/sandbox.conf"), re.MULTILINE):
        names = line.removeprefix("~").split()
        meant = {call for name in names for call in (members(name, known) if name.startswith("@") else {name})}
        calls = calls - meant if line.startswith("~") else calls | meant
    return calls


def used(folder: Path) -> set[str]:
    """The calls that were made, by the files of strace."""
    texts = (path.read_text(errors="replace") for path in folder.iterdir())
    return {call for text in texts for call in re.findall(r"^(\w+)\(", text, re.MULTILINE)}


def main() -> int:
    for program in ("strace", "systemd-analyze"):
        if shutil.which(program) is None:
            print(f"skipped: {program} is not installed")
            return 0
    status = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "traces").mkdir()
        data = folder / "data"
        commands = [
            ["account", "add", "ann", "--generate", "--data", str(data)],
            ["backup", "--to", str(folder / "backups"), "--keep", "2", "--data", str(data)],
            ["demo"],
        ]
        for number, command in enumerate(commands):
            traced = ["strace", "-ff", "-o", str(folder / f"traces/{number}"), sys.executable, "-c", PROGRAM, *command]
            done = subprocess.run(traced, env=ENVIRON, capture_output=True, text=True, check=False)
            print(f"xwrap {command[0]}: status {done.returncode}; {done.stdout.partition(chr(10))[0]}")
            status |= done.returncode != 0
        calls = used(folder / "traces")
    forbidden = calls - allowed() - REFUSED_WITHOUT_HARM
    print(f"{len(calls)} system calls were used, and not allowed of them are: {', '.join(sorted(forbidden)) or 'none'}")
    return status or bool(forbidden)


if __name__ == "__main__":
    sys.exit(main())
