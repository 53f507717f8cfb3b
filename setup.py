"""The package: a client that needs requests alone, and a server as an extra."""

import re
import shutil
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build import build

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"', (HERE / "bitmm/xwrap/__init__.py").read_text(), re.MULTILINE)[1]

CLI = ["typer>=0.20", "rich>=13", "platformdirs>=4"]
KEYRING = ["keyring>=25"]
SERVER = [
    "starlette>=1,<2",
    "uvicorn>=0.34",
    "uvloop>=0.21; sys_platform != 'win32'",
    "httptools>=0.6.3",
    "anyio>=4.6",
    "sqlalchemy>=2.0.36,<3",
    "alembic>=1.14,<2",
    "argon2-cffi>=23.1",
    "cryptography>=43",
    "orjson>=3.10",
    "prometheus-client>=0.21",
    "jinja2>=3.1",
    "pyyaml>=6",
    *CLI,
]
POSTGRES = ["psycopg[binary]>=3.2,<4"]
CCXT = ["ccxt>=4.5.64"]
#: For the tests of a bot: the plugin and the server that it runs.
TESTING = [*SERVER, "pytest>=8"]
TEST = [
    *TESTING,
    *KEYRING,
    "pytest-xdist>=3.6",
    "responses>=0.25",
    "hypothesis>=6.120",
    "jsonschema>=4.20",
    "schemathesis>=4.32",
    "selenium>=4.27",  # the owner's page in Chromium, where that is installed
    "mypy>=1.18",  # the documents' samples are type-checked
    "types-requests",
    "setuptools>=77.0.3",  # the documents' commands install this checkout, without a registry
]
DEV = [
    *TEST,
    *POSTGRES,
    "coverage>=7.6",
    "pre-commit>=4",
    "ruff>=0.14",
    "tox>=4.20",
    "types-PyYAML",
]


class FreshBuild(build):
    """Build from nothing: setuptools would pack modules that an earlier build left and that are gone from the tree."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(
    name="bitmm",
    cmdclass={"build": FreshBuild},
    version=VERSION,
    description="One small Python API to trade on crypto exchanges, with the exchange keys on a server of your own",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The bitmm developers",
    license_expression="MIT",
    license_files=["LICENSE"],
    keywords=["trading", "exchange", "bitcoin", "cryptocurrency", "kraken", "bitstamp", "backpack", "ccxt"],
    python_requires=">=3.11",
    packages=find_namespace_packages(include=["bitmm", "bitmm.*"]),
    # What is not a module lies beside the modules that read it, or documents them: all of it is shipped.
    package_data={
        "": ["py.typed", "*.md", "*.yaml", "*.json", "*.csv", "*.txt", "*.html", "*.css", "*.svg", "*.sh", "*.mjs"],
        "bitmm.xwrap.server.deploy": [
            *("Caddyfile", "nginx.conf", "compose/*"),
            *(
                f"{folder}/*.{ending}"
                for folder in ("systemd", "user")
                for ending in ("service", "timer", "conf", "env")
            ),
        ],
    },
    install_requires=["requests>=2.32"],
    extras_require={
        "server": SERVER,
        "postgres": POSTGRES,
        "ccxt": CCXT,
        "cli": CLI,
        "keyring": KEYRING,
        "testing": TESTING,
        "test": TEST,
        "dev": DEV,
    },
    entry_points={
        "console_scripts": ["xwrap = bitmm.xwrap.__main__:main"],
        # By the name of the module, so that `-p` and `pytest_plugins` with that name load it once.
        "pytest11": ["bitmm.xwrap.testing.plugin = bitmm.xwrap.testing.plugin"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Financial and Insurance Industry",
        "Operating System :: MacOS",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Office/Business :: Financial :: Investment",
        "Topic :: Software Development :: Libraries :: Python Modules",
        "Typing :: Typed",
    ],
)
