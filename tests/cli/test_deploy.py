"""`xwrap deploy`: what it writes is parsed here, and looked at by the tools that read it, where they are installed."""

from __future__ import annotations

import ipaddress
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from configparser import RawConfigParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from bitmm.xwrap import __version__
from bitmm.xwrap.cli import app
from bitmm.xwrap.server.deploy import plans
from bitmm.xwrap.server.key_file import read_keys
from bitmm.xwrap.server.settings import Settings
from tests.support.command import BARE, one_line

README = Path(__file__).parents[2] / "bitmm/xwrap/server/README.md"
#: What systemd-analyze says at most, of 10.
MOST_EXPOSURE = {"xwrap.service": 1.2, "xwrap-backup.service": 0.3}
#: Prints how many bytes the C library counts as used when blocks of all sizes that it caches were freed.
FREE = """
import ctypes

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (*"abcdefg", "used", "free", "top")]

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.mallinfo2.restype = Mallinfo2
blocks = [ctypes.c_void_p(0)] * 448
used = library.mallinfo2().used
for number in range(448):
    blocks[number] = ctypes.c_void_p(library.malloc(24 + number // 7 * 16))
for block in blocks:
    library.free(block)
print(library.mallinfo2().used - used)
"""


def xwrap(*args):
    """Run a command in this process, which is quicker than one of its own."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return SimpleNamespace(returncode=result.exit_code, stdout=result.stdout, stderr=result.stderr)


def deploy(kind, out, *args):
    done = xwrap("deploy", kind, "--out", out, *args)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def tool(name, *args, **options):
    """Run a program that reads the files; without it the test is skipped."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return subprocess.run([name, *map(str, args)], capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """The folder of a compose file, and what was printed."""
    out = tmp_path_factory.mktemp("compose") / "out"
    return out, deploy("compose", out, "--host", "XWrap.example")


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    out = tmp_path_factory.mktemp("units") / "out"
    deploy("systemd", out, "--host", "xwrap.example")
    return out


def unit(path):
    """The last value of each name of a unit, by section. Names that stand there several times keep all of them."""

    class Many(dict):
        def __setitem__(self, name, value):
            value = [*self[name], *value] if name in self and isinstance(value, list) else value
            super().__setitem__(name, value)

    parser = RawConfigParser(strict=False, dict_type=Many, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str
    parser.read(path)
    return {name: dict(parser[name]) for name in parser.sections()}


def test_a_unit_names_a_program_that_its_sandbox_lets_it_see(units, monkeypatch):
    for name in ("xwrap.service", "xwrap-backup.service"):
        service = unit(units / name)["Service"]
        assert service["ExecStart"].startswith("/")
        assert (service["User"], service["ProtectSystem"], service["NoNewPrivileges"]) == ("xwrap", "strict", "yes")
        assert service["StateDirectoryMode"] == "0700"
        assert "<<" not in (units / name).read_text()
    monkeypatch.setattr(sys, "executable", "/home/ann/bitmm/.venv/bin/python")
    plan = plans.systemd(units, None, for_user=False)
    assert b"ExecStart=/opt/xwrap/bin/xwrap serve" in plan.files[0].content
    assert plan.commands[0].startswith("sudo python3 -m venv /opt/xwrap")
    assert "ExecStart=/home/ann/" in plans.systemd(units, None, for_user=True).files[0].content.decode()
    monkeypatch.setattr(sys, "executable", "/srv/100% mine/bin/python")
    assert b'ExecStart="/srv/100%% mine/bin/python" -m' in plans.systemd(units, None, for_user=False).files[0].content


def startable(folder, target):
    """Copies of units whose program is there: systemd looks for it."""
    target.mkdir()
    for path in folder.glob("xwrap*.*"):
        text = re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", path.read_text(), flags=re.MULTILINE)
        (target / path.name).write_text(text)
    return [target / name for name in ("xwrap.service", "xwrap-backup.service", "xwrap-backup.timer")]


def test_systemd_finds_nothing_wrong_with_the_units(units, tmp_path):
    done = tool("systemd-analyze", "verify", *startable(units, tmp_path / "copies"))
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_nothing_wrong_with_the_units_of_a_user(tmp_path):
    deploy("systemd", tmp_path / "out", "--user")
    tmp_path.chmod(0o700)
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = tool("systemd-analyze", "--user", "verify", *startable(tmp_path / "out", tmp_path / "copies"), env=environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert "User=" not in (tmp_path / "out/xwrap.service").read_text()


def test_the_exposure_that_systemd_sees_is_small(units, tmp_path):
    for path in startable(units, tmp_path / "copies")[:2]:
        done = tool("systemd-analyze", "security", "--no-pager", "--offline=true", path)
        if "Overall exposure level" not in done.stdout:
            pytest.skip("this systemd-analyze does not look at files")
        [found] = re.findall(r"Overall exposure level for .*?: ([\d.]+)", done.stdout)
        assert float(found) <= MOST_EXPOSURE[path.name], done.stdout


@pytest.mark.skipif(platform.libc_ver() < ("glibc", "2.33"), reason="the C library does not say what it keeps")
def test_glibc_keeps_no_cache_for_the_threads_of_a_service_or_a_container(units, composed, tmp_path):
    deploy("systemd", tmp_path / "user", "--user")
    name = "GLIBC_TUNABLES"
    texts = [path.read_text() for path in (units / "xwrap.service", tmp_path / "user/xwrap.service")]
    texts.append((composed[0] / "Dockerfile").read_text())
    [value] = {re.search(rf"^(?:Environment=|ENV ){name}=(\S+)$", text, re.MULTILINE)[1] for text in texts}
    kept = int(subprocess.check_output([sys.executable, "-c", FREE], env={**os.environ, name: value}, timeout=60))
    assert kept < 10_000 < int(subprocess.check_output([sys.executable, "-c", FREE], env=BARE, timeout=60))


def test_the_settings_of_the_service_are_settings(units, tmp_path):
    lines = [line for line in (units / "xwrap.env").read_text().splitlines() if not line.startswith("#")]
    settings = Settings.read(dict(line.split("=", 1) for line in lines))
    assert (settings.hosts, str(settings.proxies[0])) == (("xwrap.example",), "127.0.0.1/32")
    deploy("systemd", tmp_path)
    assert all(line.startswith("#") for line in (tmp_path / "xwrap.env").read_text().splitlines())


def test_the_master_key_that_the_printed_command_makes_is_one(tmp_path):
    file = tmp_path / "master.key"
    command = plans._MAKE_KEY.removeprefix("sudo -u xwrap ").replace("/etc/xwrap/master.key", str(file))
    for _ in range(2):
        subprocess.run(["sh", "-c", command], check=True)
        first = read_keys(file)
    assert read_keys(file) == first
    assert len(first.keys) == 1


def test_of_the_composed_services_the_proxy_alone_is_reached_and_none_may_do_more_than_it_needs(composed):
    document = yaml.safe_load((composed[0] / "compose.yaml").read_text())
    services, networks = document["services"], document["networks"]
    assert {name for name, service in services.items() if "ports" in service} == {"caddy"}
    assert networks["proxy"]["internal"] is networks["database"]["internal"] is True
    assert list(services["database"]["networks"]) == ["database"]
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["stop_grace_period"]
        assert "privileged" not in service
        assert "healthcheck" in service or service is services["xwrap"]  # that is in its image
    server, proxy = services["xwrap"], services["caddy"]["networks"]["proxy"]["ipv4_address"]
    assert server["environment"]["XWRAP_PROXIES"] == proxy
    assert ipaddress.ip_address(proxy) in ipaddress.ip_network(networks["proxy"]["ipam"]["config"][0]["subnet"])
    assert server["environment"]["XWRAP_HOSTS"] == "xwrap.example"
    assert server["image"] == f"xwrap:{__version__}"
    assert server["pids_limit"] >= 400
    declared = {volume.partition(":")[0] for each in services.values() for volume in each.get("volumes", [])}
    assert {name for name in declared if not name.startswith(".")} == set(document["volumes"])
    Settings.read(server["environment"])


def test_several_servers_share_postgresql_and_the_master_key_behind_one_proxy(tmp_path):
    deploy("compose", tmp_path / "out", "--host", "xwrap.example", "--servers", 3)
    document = yaml.safe_load((tmp_path / "out/compose.yaml").read_text())
    names = ["xwrap", "xwrap-2", "xwrap-3"]
    first, *others = (document["services"][name] for name in names)
    for server in others:
        differ = {name for name in {*first, *server} if first.get(name) != server.get(name)}
        assert differ == {"build", "pull_policy", "volumes", "networks", "depends_on"}
        # The first one makes the tables and the master key.
        assert server["depends_on"]["xwrap"] == {"condition": "service_healthy"}
        assert server["volumes"][1] == first["volumes"][1] == "key:/key"
    folders = {server["volumes"][0].partition(":")[0] for server in (first, *others)}
    assert len(folders) == 3
    assert folders < set(document["volumes"])
    subnet = ipaddress.ip_network(document["networks"]["proxy"]["ipam"]["config"][0]["subnet"])
    addresses = {each["networks"]["proxy"]["ipv4_address"] for each in (first, *others, document["services"]["caddy"])}
    assert len({address for address in addresses if ipaddress.ip_address(address) in subnet}) == 4
    assert set(document["services"]["caddy"]["depends_on"]) == set(names)
    assert "reverse_proxy xwrap:8000 xwrap-2:8000 xwrap-3:8000 {" in (tmp_path / "out/Caddyfile").read_text()
    caddy_reads(tmp_path / "out/Caddyfile", tmp_path)


def test_the_password_of_postgresql_stands_in_files_for_their_owner_alone_and_nowhere_else(composed):
    out, printed = composed
    document = yaml.safe_load((out / "compose.yaml").read_text())
    password = (out / "secrets/database_password").read_text().strip()
    assert len(password) >= 40
    assert password not in printed
    for path in out.rglob("*"):
        if path.is_file() and path.parent.name != "secrets":
            assert password.encode() not in path.read_bytes()
    for secret in document["secrets"].values():
        found = (out / secret["file"]).stat()
        assert stat.S_IMODE(found.st_mode) == 0o600
        # The server in its container is the same user; root is nobody there.
        uid = int(document["services"]["xwrap"]["build"]["args"]["UID"])
        assert (found.st_uid, uid != 0) == (uid, True)
    assert stat.S_IMODE((out / "secrets").stat().st_mode) == 0o700


def test_the_password_is_found_by_the_url_of_the_server(composed):
    from sqlalchemy import make_url

    out = composed[0]
    services = yaml.safe_load((out / "compose.yaml").read_text())["services"]
    url = make_url(services["xwrap"]["environment"]["XWRAP_DATABASE_URL"])
    password = (out / "secrets/database_password").read_text().strip()
    assert (url.password, url.query["passfile"]) == (None, "/run/secrets/pgpass")
    assert services["xwrap"]["secrets"] == ["pgpass"]
    assert url.host in services
    line = f"{url.host}:5432:{url.database}:{url.username}:{password}\n"
    assert (out / "secrets/pgpass").read_text() == line
    made = services[url.host]["environment"]
    assert (made["POSTGRES_USER"], made["POSTGRES_DB"]) == (url.username, url.database)


INSTRUCTIONS = set("FROM WORKDIR COPY RUN ADD ARG ENV USER EXPOSE HEALTHCHECK ENTRYPOINT CMD".split())


def test_the_image_is_made_of_what_was_written_and_does_not_run_as_root(composed):
    out = composed[0]
    text = re.sub(r"\\\n\s*", "", (out / "Dockerfile").read_text())
    lines = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    assert {name for name, _ in lines} <= INSTRUCTIONS
    copied = [rest.split()[0] for name, rest in lines if name in {"COPY", "ADD"} and "--from" not in rest]
    assert copied == ["requirements.txt", "bitmm.tar"]
    assert all((out / name).is_file() for name in copied)
    assert {f"!{name}" for name in copied} == set((out / ".dockerignore").read_text().split()) - {"*"}
    assert any("--require-hashes" in rest for name, rest in lines if name == "RUN")
    assert [rest for name, rest in lines if name == "USER"] == ["$UID"]


def test_hadolint_finds_nothing_wrong_with_the_image(composed):
    done = tool("hadolint", composed[0] / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_docker_reads_the_compose_file(composed):
    done = tool("docker", "compose", "--file", composed[0] / "compose.yaml", "config", "--quiet")
    if "unknown" in done.stderr.partition("\n")[0]:
        pytest.skip("docker has no compose here")
    assert (done.returncode, done.stderr) == (0, "")


def caddy_reads(file, folder):
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    done = tool("caddy", "validate", "--adapter", "caddyfile", "--config", file, env=environ)
    assert done.returncode == 0, done.stderr


def test_caddy_reads_its_file(composed, tmp_path):
    caddy_reads(composed[0] / "Caddyfile", tmp_path)


def test_the_bitmm_in_the_image_is_this_one_and_runs(composed, tmp_path):
    with tarfile.open(composed[0] / "bitmm.tar") as archive:
        # Python 3.11 has filters since 3.11.4.
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    environ = BARE | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path[1:]]), "PYTHONDONTWRITEBYTECODE": "1"}
    program = "import bitmm.xwrap.cli as c; print(c.__file__); c.app(['deploy', 'nginx', '--host', 'a.example'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))
    assert (tmp_path / "bitmm/xwrap/server/openapi.yaml").is_file()
    assert (tmp_path / "xwrap-deploy/xwrap.conf").is_file()


def test_nothing_is_written_over_unless_that_is_wanted_and_a_password_is_kept(tmp_path):
    deploy("compose", tmp_path, "--host", "xwrap.example")
    password = (tmp_path / "secrets/database_password").read_text()
    (tmp_path / "compose.yaml").write_text("mine")
    (tmp_path / "Caddyfile").unlink()
    refused = xwrap("deploy", "compose", "--host", "other.example", "--out", tmp_path)
    one_line(refused, f"{tmp_path}/compose.yaml", "nothing was written", "--force")
    assert not (tmp_path / "Caddyfile").exists()
    deploy("compose", tmp_path, "--host", "other.example", "--force")
    assert "other.example" in (tmp_path / "compose.yaml").read_text()
    assert (tmp_path / "secrets/database_password").read_text() == password
    assert password.strip() in (tmp_path / "secrets/pgpass").read_text()


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "other").write_text("not yours")
    (tmp_path / "out/xwrap.conf").symlink_to(tmp_path / "other")
    one_line(xwrap("deploy", "nginx", "--host", "xwrap.example", "--out", tmp_path / "out"), "--force")
    deploy("nginx", tmp_path / "out", "--host", "xwrap.example", "--force")
    assert (tmp_path / "other").read_text() == "not yours"
    assert not (tmp_path / "out/xwrap.conf").is_symlink()


@pytest.mark.parametrize(
    ("kind", "name", "language"), [("nginx", "xwrap.conf", "nginx"), ("caddy", "Caddyfile", "caddy")]
)
def test_the_readme_shows_the_file_for_the_proxy_as_it_is_written(tmp_path, kind, name, language):
    printed = deploy(kind, tmp_path, "--host", "xwrap.example")
    [block] = re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert (tmp_path / name).read_text() == block
    assert "XWRAP_HOSTS=xwrap.example XWRAP_PROXIES=127.0.0.1 xwrap serve" in printed


@pytest.mark.parametrize(
    "host", ["", "localhost", "xwrap.example:443", "https://xwrap.example", "a b.example", "x;.com"]
)
def test_a_host_that_is_none_is_refused(tmp_path, host):
    one_line(xwrap("deploy", "caddy", "--host", host, "--out", tmp_path / "out"), "xwrap.example")
    assert not (tmp_path / "out").exists()
