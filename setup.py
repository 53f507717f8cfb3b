"""The package: a client that needs requests alone, and a server as an extra."""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"', (HERE / "bitmm/xwrap/__init__.py").read_text(), re.MULTILINE)[1]

CLI = ["typer>=0.15", "rich>=13"]
SERVER = [
    "starlette>=1,<2",
    "uvicorn>=0.34",
    "uvloop>=0.21; sys_platform != 'win32'",
    "httptools>=0.6; sys_platform != 'win32'",
    "anyio>=4.6",
    "sqlalchemy>=2.0.36,<3",
    "alembic>=1.14,<2",
    "argon2-cffi>=23.1",
    "cryptography>=43",
    "platformdirs>=4",
    "prometheus-client>=0.21",
    *CLI,
]
POSTGRES = ["psycopg[binary]>=3.2,<4"]
CCXT = ["ccxt>=4.5.64"]

setup(
    name="bitmm",
    version=VERSION,
    description="One small Python API to trade on crypto exchanges, with the exchange keys on a server of your own",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_namespace_packages(include=["bitmm", "bitmm.*"]),
    package_data={
        "bitmm.xwrap": ["py.typed"],
        "bitmm.xwrap.exchanges.paper": ["recorded/*"],
        "bitmm.xwrap.server": ["openapi.yaml"],
        "bitmm.xwrap.testing.exchanges": ["recorded/*"],
    },
    install_requires=["requests>=2.32"],
    extras_require={
        "server": SERVER,
        "postgres": POSTGRES,
        "ccxt": CCXT,
        "cli": CLI,
        "test": [
            *SERVER,
            "pytest>=8",
            "pytest-xdist>=3.6",
            "responses>=0.25",
            "hypothesis>=6.120",
            "PyYAML>=6",
            "jsonschema>=4.20",
        ],
    },
    entry_points={"console_scripts": ["xwrap = bitmm.xwrap.__main__:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
