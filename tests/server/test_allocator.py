"""Memory of a server process: how the C library shares it between threads."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

#: Serves, writes what the C library says of its arenas (malloc_info(3)), and stops.
SERVER = """
import ctypes
import sys
from pathlib import Path

from bitmm.xwrap.server.listening import bind
from bitmm.xwrap.server.runner import Stop, serve
from bitmm.xwrap.server.settings import Settings

def ready(services):
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(library.fopen(sys.argv[2].encode(), b"w"))
    library.malloc_info(0, file)
    library.fclose(file)
    stop("it was looked at")

settings, stop = Settings.read({"XWRAP_EXCHANGES": "paper"}, data=Path(sys.argv[1]), port=0), Stop()
with bind(settings) as listener:
    serve(settings, listener, stop, print, ready)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no arenas that can be counted")
def test_the_threads_of_a_server_share_two_arenas_of_the_c_library(tmp_path: Path) -> None:
    found = tmp_path / "arenas.xml"
    subprocess.run([sys.executable, "-c", SERVER, str(tmp_path / "data"), str(found)], check=True, timeout=60)

    assert found.read_text().count("<heap nr=") <= 2
