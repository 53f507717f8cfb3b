"""What `xwrap deploy` writes: for each way to run a server its files, and the commands that come after them."""

from __future__ import annotations

import io
import re
import secrets
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from ... import __version__
from ..settings import SetupError
from .templates import deploy_file, render

__all__ = ["DeployFile", "Plan", "caddy", "check_host", "compose", "nginx", "systemd"]

_LOCAL = "127.0.0.1:8000"
_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
#: What the sandbox of the service hides from it, or empties.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108
_INSTALLED = "/opt/xwrap/bin/xwrap"
_PASSWORD = "secrets/database_password"  # noqa: S105
#: Commands on the data of the service, run as its user.
_AS_SERVICE = "sudo -u xwrap env XWRAP_DATA_DIR=/var/lib/xwrap XWRAP_MASTER_KEY_FILE=/etc/xwrap/master.key"
_MAKE_KEY = (
    "sudo -u xwrap sh -c 'umask 077; test -e /etc/xwrap/master.key || "
    "head -c 32 /dev/urandom | base64 > /etc/xwrap/master.key'"
)


@dataclass(frozen=True, slots=True)
class DeployFile:
    """A file to be written, by its path in the folder. A secret one is for its owner alone, and not shown."""

    name: str
    content: bytes = field(repr=False)
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The files, and the commands that come next. `owner`: whose the secret ones are; None: his who runs this."""

    files: list[DeployFile]
    commands: list[str]
    owner: int | None = None


def check_host(host: str) -> str:
    """Return the name of a host in lower case. Raises SetupError."""
    if _HOST.fullmatch(host.lower()) is None:
        raise SetupError(f"--host is {host!r}; it takes the name under which the server is reached, like xwrap.example")
    return host.lower()


def systemd(folder: Path, host: str | None, *, for_user: bool) -> Plan:
    """Return the units of a service of the machine, or of a user, and of a backup each night."""
    kind = "user" if for_user else "systemd"
    program, install = _program(is_hidden=not for_user)
    sandbox = render(f"{kind}/sandbox.conf")
    units = [
        _text(name, render(f"{kind}/{name}", program=program, sandbox=sandbox))
        for name in ("xwrap.service", "xwrap-backup.service")
    ]
    off = "" if host else "# "
    settings = f"{off}XWRAP_HOSTS={host or 'xwrap.example'}\n{off}XWRAP_PROXIES=127.0.0.1"
    files = [
        *units,
        _text("xwrap-backup.timer", render("systemd/xwrap-backup.timer")),
        _text("xwrap.env", render("systemd/xwrap.env", settings=settings)),
    ]
    return Plan(files, _commands_for_user(folder, program) if for_user else [*install, *_commands(folder, program)])


def _commands(folder: Path, program: str) -> list[str]:
    return [
        "sudo useradd --system --home-dir /var/lib/xwrap --shell /usr/sbin/nologin xwrap",
        "sudo install -d -m 700 -o xwrap -g xwrap /etc/xwrap",
        f"{_MAKE_KEY}    # keep a copy of it in another place",
        f"sudo install -m 600 -o xwrap -g xwrap {folder}/xwrap.env /etc/xwrap/",
        f"sudo cp {_unit_names(folder)} /etc/systemd/system/",
        "sudo systemctl daemon-reload",
        "sudo systemctl enable --now xwrap.service xwrap-backup.timer",
        f"{_AS_SERVICE} {program} account add ann --generate",
        f"{_AS_SERVICE} {program} doctor",
    ]


def _unit_names(folder: Path) -> str:
    return " ".join(f"{folder}/{name}" for name in ("xwrap.service", "xwrap-backup.service", "xwrap-backup.timer"))


def _commands_for_user(folder: Path, program: str) -> list[str]:
    return [
        f"mkdir -p ~/.config/systemd/user && cp {_unit_names(folder)} ~/.config/systemd/user/",
        f"cp {folder}/xwrap.env ~/.config/xwrap.env",
        "systemctl --user daemon-reload",
        "systemctl --user enable --now xwrap.service xwrap-backup.timer",
        "loginctl enable-linger    # it runs also while you are not logged in",
        f"{program} account add ann --generate",
        f"{program} doctor",
    ]


def _program(*, is_hidden: bool) -> tuple[str, list[str]]:
    """Return the command of this installation as a unit names it, and what installs it where the service sees it."""
    python = Path(sys.executable)
    script = python.with_name("xwrap")
    words = [str(script)] if script.is_file() else [str(python), "-m", "bitmm.xwrap"]
    if is_hidden and any(Path(place) in python.parents for place in _HIDDEN):
        install = f"sudo python3 -m venv {Path(_INSTALLED).parents[1]} && sudo {Path(_INSTALLED).parent}/pip install"
        return _INSTALLED, [f"{install} '.[server]'    # in a clone of bitmm: the service does not see {python.parent}"]
    # systemd's own signs are doubled.
    return " ".join(f'"{word}"' if " " in word else word for word in words).replace("%", "%%").replace("$", "$$"), []


def compose(folder: Path, host: str, *, user: int | None, servers: int = 1) -> Plan:
    """Return an image, a compose file with PostgreSQL, Caddy and so many servers, and a password that was drawn for it.

    `user`: the number of the user who runs this. A password that is there already is kept: PostgreSQL has it.
    """
    names = ["xwrap", *(f"xwrap-{number}" for number in range(2, servers + 1))]
    # In the image the server never runs as root, which then gives its secrets to another user.
    is_root = user == 0
    owner = user or 10001
    kept = folder / _PASSWORD
    password = kept.read_text("ascii").strip() if kept.exists() else secrets.token_urlsafe(32)
    files = [
        _text("compose.yaml", _composed(names, host, owner)),
        _text("Dockerfile", render("compose/Dockerfile")),
        _text("Caddyfile", _balancer(names, host) if servers > 1 else _proxy(host, "xwrap:8000")),
        # Only what the image is made of goes to Docker, and no secret into a repository.
        _text(".dockerignore", "*\n!requirements.txt\n!bitmm.tar\n"),
        _text(".gitignore", "/secrets/\n"),
        DeployFile("requirements.txt", deploy_file("requirements.txt").read_bytes()),
        DeployFile("bitmm.tar", _package()),
        DeployFile(_PASSWORD, f"{password}\n".encode(), is_secret=True),
        DeployFile("secrets/pgpass", f"database:5432:xwrap:xwrap:{password}\n".encode(), is_secret=True),
    ]
    commands = [
        f"cd {folder}",
        "docker compose up --detach --build",
        "docker compose exec xwrap python -m bitmm.xwrap account add ann --generate",
        "docker compose exec xwrap python -m bitmm.xwrap doctor",
        "docker compose cp xwrap:/key/master.key COPY    # keep it in another place than the backups",
        "docker compose exec -T database pg_dump --format=custom --username xwrap xwrap > BACKUP",
    ]
    return Plan(files, commands, owner if is_root else None)


def _composed(names: list[str], host: str, owner: int) -> str:
    """Return the compose file with these servers. The first one makes the image, the tables and the master key."""
    build = f'    build:\n      context: .\n      args:\n        UID: "{owner}"'
    folders = [name.replace("xwrap", "data") for name in names]
    parts = [
        render(
            "compose/server.yaml",
            name=name,
            origin="    # The image is made with the first one.\n    pull_policy: never" if number else build,
            host=host,
            version=__version__,
            data=folders[number],
            number=str(number + 3),
            healthy=_when_healthy(["database", "xwrap"] if number else ["database"]),
        )
        for number, name in enumerate(names)
    ]
    return render(
        "compose/compose.yaml",
        servers="\n".join(parts),
        healthy=_when_healthy(names),
        data="\n".join(f"  {folder}:" for folder in folders),
    )


def _when_healthy(names: list[str]) -> str:
    return "\n".join(f"      {name}:\n        condition: service_healthy" for name in names)


def _balancer(names: list[str], host: str) -> str:
    return render("compose/Caddyfile", host=host, upstreams=" ".join(f"{name}:8000" for name in names))


def _proxy(host: str, upstream: str) -> str:
    return render("Caddyfile", host=host, upstream=upstream)


def caddy(folder: Path, host: str) -> Plan:
    """Return the configuration of Caddy for a server on this machine."""
    file = _text("Caddyfile", _proxy(host, _LOCAL))
    commands = [
        f"caddy validate --config {folder}/Caddyfile --adapter caddyfile",
        f"sudo cp {folder}/Caddyfile /etc/caddy/Caddyfile && sudo systemctl reload caddy",
        _serve(host),
    ]
    return Plan([file], commands)


def nginx(folder: Path, host: str) -> Plan:
    """Return the configuration of nginx for a server on this machine; its certificate is the administrator's."""
    file = _text("xwrap.conf", render("nginx.conf", host=host, upstream=_LOCAL))
    commands = [
        f"sudo cp {folder}/xwrap.conf /etc/nginx/conf.d/ && sudo nginx -t && sudo systemctl reload nginx",
        _serve(host),
    ]
    return Plan([file], commands)


def _serve(host: str) -> str:
    return f"XWRAP_HOSTS={host} XWRAP_PROXIES=127.0.0.1 xwrap serve"


def _text(name: str, content: str) -> DeployFile:
    return DeployFile(name, content.encode())


def _package() -> bytes:
    """Return this bitmm as a tar archive, the same for the same files."""
    root = Path(__file__).parents[2]
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                entry = tarfile.TarInfo(f"bitmm/xwrap/{path.relative_to(root).as_posix()}")
                entry.size, entry.mode = path.stat().st_size, 0o644
                with path.open("rb") as file:
                    archive.addfile(entry, file)
    return written.getvalue()
