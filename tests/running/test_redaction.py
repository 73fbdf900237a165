import json
import os
import subprocess
import sys
from unittest.mock import patch
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.running.redaction import hide

WORDS = st.text(st.characters(codec="ascii", exclude_characters="\0*"), max_size=20)
NAMES = (
    "AWS_SECRET_ACCESS_KEY",
    "my_token",
    "API_KEY",
    "DB_PASSWORD",
    "DB_PASS",
    "PGPASS",
    "MYSQL_PWD",
    "SSH_PASSPHRASE",
    "ENCRYPTION_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_CLIENT_CUSTOM_HEADERS",
    "SENTRY_DSN",
    "GITHUB_PAT",
    "AZURE_STORAGE_SAS",
)
PASSWORDS = st.text(
    st.characters(codec="ascii", min_codepoint=33, exclude_characters="*"), min_size=6, max_size=20
)
SECRETS = st.text(st.characters(codec="ascii", exclude_characters="\0*"), min_size=6, max_size=20)


@given(before=WORDS, secret=SECRETS, after=WORDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_value_of_a_secret_variable_never_shows(
    name: str, before: str, secret: str, after: str
) -> None:
    with patch.dict(os.environ, {name: secret}, clear=True):
        assert secret not in hide(before + secret + after)


def test_a_password_in_an_address_never_shows() -> None:
    line = "ERROR: https://mary:wonder@host.example/path and s3://bucket/key"
    assert hide(line) == "ERROR: https://***@host.example/path and s3://bucket/key"


@given(password=PASSWORDS)
def test_no_password_in_an_address_shows_whatever_is_in_it(password: str) -> None:
    assert hide(f"https://mary:{password}@host.example/x") == "https://***@host.example/x"


@given(password=PASSWORDS)
def test_the_password_of_an_address_in_a_variable_shows_in_no_form(password: str) -> None:
    with patch.dict(os.environ, {"URL": f"https://mary:{password}@host.example/"}, clear=True):
        for form in (password, quote(password, safe="")):
            assert form not in hide(f"cannot log in with {form} here")


def test_the_parts_of_a_secret_show_as_little_as_the_whole() -> None:
    secrets = {
        "PREFECT_API_AUTH_STRING": "admin:hunter22",
        "AZURE_CONNECTION_STRING": "AccountName=a;AccountKey=abcDEF123456==",
        "PRIVATE_KEY": "-----BEGIN KEY-----\nabcdefgh12345678\n-----END KEY-----",
    }
    with patch.dict(os.environ, secrets, clear=True):
        for part in ("hunter22", "abcDEF123456==", "abcdefgh12345678", "YWRtaW46aHVudGVyMjI="):
            assert part not in hide(f"refused: {part}")


def test_every_string_of_json_is_a_part_of_the_secret() -> None:
    value = '{"X-Proxy-Auth": "CANARY12", "all": [{"of": "Bearer CANARY34"}, 1, null]}'
    with patch.dict(os.environ, {"PREFECT_CLIENT_CUSTOM_HEADERS": value}, clear=True):
        assert hide("refused: CANARY12, CANARY34") == "refused: ***, ***"


@given(secret=st.text(st.characters(codec="utf-8", exclude_characters="\0*"), min_size=6))
def test_no_secret_shows_as_python_or_json_writes_it(secret: str) -> None:
    with patch.dict(os.environ, {"MY_TOKEN": secret}, clear=True):
        for form in (repr(secret)[1:-1], json.dumps(secret)[1:-1]):
            assert form not in hide(f"got {form} here")


def test_a_password_with_a_space_in_the_address_of_a_variable_shows_in_no_form() -> None:
    with patch.dict(os.environ, {"URL": "http://mary:CAN ARY/12@34@host"}, clear=True):
        for form in ("CAN ARY/12@34", "CAN%20ARY%2F12%4034"):
            assert hide(f"port {form} is none") == "port *** is none"


@pytest.mark.parametrize(
    "text",
    [
        "https://host.example/x?CANARY12",
        "https://host.example/x?token=CANARY12",
        "https://host.example/x?a=1&sig=CANARY12%3D",
        "https://host.example/x#access_token=CANARY12",
        "https://CANARY12@host.example/x",
        "Authorization: Bearer CANARY12",
        "authorization: Basic CANARY12",
        "{'Authorization': 'Bearer CANARY12'}",
        "sent bearer CANARY12 to it",
        "AccountName=a;AccountKey=CANARY12==",
        "host=db user=mary password=CANARY12",
        '{"password": "CANARY12"}',
        "secret_access_key = CANARY12",
        "X-Api-Key: CANARY12",
        "> X-Proxy-Auth: CANARY12",
        "password: CANARY12",
        "password: 'a CANARY12'",
        "Cookie: theme=dark; session=CANARY12",
        "Set-Cookie: session=a; CANARY12",
        "no answer from http://mary:CAN ARY12 CANARY12@host/api",
    ],
)
def test_what_is_named_a_secret_is_hidden_without_any_variable(text: str) -> None:
    assert "CANARY12" not in hide(text)


@pytest.mark.parametrize(
    "text",
    [
        "a german keyboard, search 3/25: loss 2.3",
        "s3://bucket/key and http://127.0.0.1:4200/api/health",
        "https://host.example:8080/a/b.zip: no such file",
        "expected KEY=VALUE,VALUE,... or KEY=LOW..HIGH",
        "params.yaml: search.keys=123456: unknown key; did you mean 'epochs'?",
        "authorization failed: the password is wrong",
        "seed: 42",
        "monkey: 0.9312345, turkey: 0.8712345",
        "PREFECT_API_KEY: not set",
        "http://127.0.0.1:4200/api: no answer to mary@host.example",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    variables = {"KEYBOARD": "german", "MY_TOKEN": "a", "SSH_AUTH_SOCK": "failed"}
    with patch.dict(os.environ, variables, clear=True):
        assert hide(text) == text


LOGGING = """
import logging
import pipeline.flows
log = logging.getLogger("any.library")
logging.basicConfig(format="%(message)s")
log.warning("refused by %s", "http://bob:CANARY12@127.0.0.1/api")
log.warning("%d is wrong, and not the end", "CANARY")
try:
    raise ValueError("for url http://bob:CANARY12@127.0.0.1/api")
except ValueError:
    log.exception("failed")
"""


def test_no_library_logs_a_secret_in_a_process_with_flows() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOGGING], capture_output=True, text=True, check=True
    )
    assert "refused by http://***@127.0.0.1/api" in done.stderr
    assert "ValueError: for url http://***@127.0.0.1/api" in done.stderr
    assert "CANARY12" not in done.stderr
