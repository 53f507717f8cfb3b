"""The client's commands as one person runs them: in this process, which is quick, or on a terminal of their own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
from codecs import getincrementaldecoder
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from typer.main import get_command
from typer.testing import CliRunner

from bitmm.xwrap.cli import app
from tests.support.command import BARE, XWRAP

#: What a command's login depends on: each is unset unless the test sets it.
VARIABLES = (
    *("XWRAP_URL", "XWRAP_USER", "XWRAP_PASSWORD", "XWRAP_PASSWORD_FILE", "XWRAP_PROFILE", "XWRAP_INSECURE"),
    *("XDG_CONFIG_HOME", "NO_COLOR", "COLUMNS"),
)
#: Put together once: `CliRunner.invoke` does it each time, which takes as long as most of the commands run.
COMMAND = get_command(app)


@dataclass
class Shell:
    """A home folder, in which a person has logged in to a server or not."""

    home: Path
    url: str = ""
    auth: tuple[str, str] = ("", "")
    environ: dict[str, str] = field(default_factory=dict)

    def run(self, *args, stdin="", **environ):
        """Run a command in this process; its exit code, stdout and stderr."""
        env = {**dict.fromkeys(VARIABLES), "HOME": str(self.home), **self.environ, **environ}
        with CliRunner().isolation(input=stdin, env=env) as (out, err, _):
            try:
                COMMAND([str(arg) for arg in args], prog_name="xwrap")
            except SystemExit as end:
                code = end.code or 0
            sys.stdout.flush()
            stdout, stderr = (stream.getvalue().decode().replace("\r\n", "\n") for stream in (out, err))
        # The password stands nowhere, whatever the command is.
        assert not self.auth[1] or self.auth[1] not in stdout + stderr
        return SimpleNamespace(returncode=code, stdout=stdout, stderr=stderr)

    def log_in(self, *args, **environ):
        """Log in by `xwrap login`."""
        given = ("--server", self.url, "--account", self.auth[0], "--password-stdin")
        result = self.run("login", *given, *args, stdin=f"{self.auth[1]}\n", **environ)
        assert result.returncode == 0, result.stderr
        return result

    def on_terminal(self, *args, answers: Mapping[str, str] | None = None, columns=100, **environ):
        """Run a command on a terminal of its own; its exit code, and what stood on the screen.

        `answers`: what is typed when the screen ends with these words.
        """
        return on_terminal(
            [*XWRAP, *map(str, args)], {"HOME": str(self.home), **self.environ, **environ}, answers or {}, columns
        )


#: A fork of this process, which has threads, may hang: a process of its own takes the terminal and becomes the command.
_BECOME = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def on_terminal(command, environ, answers, columns):
    """Run a command line on a terminal of its own: its exit code, and what stood on the screen."""
    left = dict(answers)
    terminal, own = pty.openpty()
    termios.tcsetwinsize(terminal, (50, columns))
    environ = BARE | {"TERM": "xterm-256color"} | environ
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), own)
    become = [sys.executable, "-I", "-S", "-c", _BECOME]
    process = subprocess.Popen([*become, *command], env=environ, start_new_session=True, **streams)
    os.close(own)
    screen, decoder = "", getincrementaldecoder("utf-8")()
    with os.fdopen(terminal, "r+b", buffering=0) as file, suppress(OSError):
        while chunk := _read(file, process):
            screen += decoder.decode(chunk)
            typed = [words for words in left if screen.endswith(words)]
            for words in typed:
                file.write(left.pop(words).encode())
    return process.wait(60), screen.replace("\r\n", "\n")


def _read(file, process):
    """What the command writes next; one that is silent for a minute, as at a question without an answer, is killed."""
    if not select.select([file], [], [], 60)[0]:
        process.kill()
    return file.read(4096)
