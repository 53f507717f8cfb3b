"""The credentials of these tests. Each holds the mark that `test_no_secret_leaks.py` looks for in what a run prints."""

import base64
from urllib.parse import quote, quote_plus

USER = "ann"
PASSWORD = "Canary pässwörd 密码"
KEY = "Canary/key+31"
SECRET = "Canary/secret+=77"

SECRETS = (PASSWORD, KEY, SECRET)
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

#: Every spelling in which a secret could come out.
NEEDLES = (
    "Canary",
    BASIC.removeprefix("Basic "),
    base64.b64encode(PASSWORD.encode()).decode().rstrip("="),
    *(quote(secret, safe="") for secret in SECRETS),
    *(quote_plus(secret) for secret in SECRETS),
)
