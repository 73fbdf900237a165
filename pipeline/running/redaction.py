"""Hide secrets from logs: values of secret variables, passwords and queries in addresses, headers.

A line that hides too much is still a line; a password in a log has to be changed.
"""

import json
import logging
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any
from urllib.parse import quote, unquote

NAMES = re.compile(
    r"TOKEN|SECRET|PASS|CREDENTIAL|AUTH_STRING|CUSTOM_HEADERS|CONN(ECTION)?_?STR|DSN"
    r"|KEYS?(_|$)|SIGNATURE|COOKIE|(?<=_)PWD|_(PAT|SAS)(_|$)",
    re.IGNORECASE,
)
"""Names of environment variables whose values are secret: MY_TOKEN, PGPASS, AZURE_..._KEY."""
NAMED_PART = re.compile(r"[:=](?=[^=])")
"""What separates a secret from its name in a value: `admin:word`, `Account=a;Key=word==`."""
USER = re.compile(r"(?<=://)([^/\s@:]*:(?:\S*|(?!\d+[/\s])[^@\n]*)|[^/\s@]+)@")
"""User and password of an address; the password may hold '/', '@' and spaces, a port does not."""
WHOLE_USER = re.compile(r"(?<=://)[^/\s@:]*:(.*)@", re.DOTALL)
"""The same in a value that is an address: the password, whatever it holds."""
QUERY = re.compile(r"(://[^\s?#]*[?#])\S+")
"""What follows an address, in which many services take a token."""
HEADER = re.compile(
    r"""(authorization["']?\s*[:=]\s*["']?)(\w+ )?[^\s"',]+|\b(bearer )\S{6,}""", re.IGNORECASE
)
NAMED = re.compile(
    r"""(?ix) ( (?<![\w-]) [\w-]{0,64} (?: token | secret | pass(?:word|wd|phrase)? | pwd
    | \w[_-]?key | signature | credential ) ["']? \s* = \s* ["']?
    | ["'] [\w-]{0,64} (?: token | secret | password | key ) ["'] \s* : \s* ["'] ) [^\s"',;&]{6,}"""
)
"""A value with the name of a secret before it: `AccountKey=...`, `'password': '...'`.

Names are sought from where a word begins, and are short: else a long line takes seconds.
"""
LINE = re.compile(
    r"""(?ix) ( \b cookie [ ]* : [ ]* ) .+
    | ( (?<![\w-]) [\w-]{0,64} (?: token | secret | password | passwd | passphrase | pwd | apikey
    | [_-]key | [_-]auth | signature | credential ) [ ]* : [ ]* )
    (?: "[^"\n]*" | '[^'\n]*' | \S{6,} )"""
)
"""A header, or a line of YAML, with the name of a secret: `X-Api-Key: ...`, `Cookie: a=...; b`."""
SHORTEST = 6
"""Smallest number of characters of a secret; shorter values would blank harmless words."""
HIDDEN = "***"


def hide(text: str) -> str:
    """Return the text with every secret replaced by `***`."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = USER.sub(f"{HIDDEN}@", text)
    text = QUERY.sub(rf"\1{HIDDEN}", text)
    text = LINE.sub(rf"\1\2{HIDDEN}", text)
    text = HEADER.sub(rf"\1\3{HIDDEN}", text)
    return NAMED.sub(rf"\1{HIDDEN}", text)


def hide_in_logs() -> None:
    """Hide secrets from now on in all that this process logs, whichever library logs it."""
    make = logging.getLogRecordFactory()
    formatter = logging.Formatter()

    def without_secrets(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        with suppress(KeyError, TypeError, ValueError):  # its format is wrong: logging says so
            if (message := record.getMessage()) != (told := hide(message)):
                record.msg, record.args = told, ()
        if record.exc_info:
            record.exc_text = hide(formatter.formatException(record.exc_info))
        return record

    logging.setLogRecordFactory(without_secrets)


def _secrets() -> set[str]:
    """Return all secrets of the environment, in every form in which a program may write them."""
    values = chain.from_iterable(_values(name, value) for name, value in os.environ.items())
    return {form for value in values if len(value) >= SHORTEST for form in _forms(value)}


def _values(name: str, value: str) -> Iterator[str]:
    """Yield a secret value, whole and in parts, and the password of an address."""
    if NAMES.search(name):
        yield value
        for part in re.split(r"[;\n]", value):
            yield NAMED_PART.split(part, 1)[-1].strip()
        with suppress(ValueError):  # it is no JSON
            yield from _strings(json.loads(value))
    if found := WHOLE_USER.search(value):
        yield found[1]


def _strings(parsed: Any) -> Iterator[str]:
    """Yield every string in what was JSON, but for names, and the last word: 'Bearer <token>'."""
    if isinstance(parsed, str):
        yield parsed
        yield parsed.rpartition(" ")[2]
    elif isinstance(parsed, dict | list):
        for one in parsed.values() if isinstance(parsed, dict) else parsed:
            yield from _strings(one)


def _forms(value: str) -> Iterator[str]:
    yield value
    yield quote(value, safe="")
    yield unquote(value)
    yield repr(value)[1:-1]
    yield json.dumps(value)[1:-1]
    yield b64encode(value.encode(errors="surrogateescape")).decode()
