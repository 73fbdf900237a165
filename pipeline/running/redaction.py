"""Hide secrets from logs: values of secret variables and passwords in addresses."""

import os
import re

NAMES = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY", re.IGNORECASE
)
IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+@")
SHORTEST = 6
"""Smallest number of characters of a secret; shorter values would blank harmless words."""


def hide(text: str) -> str:
    """Return the text with every secret replaced by `***`."""
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and NAMES.search(name):
            text = text.replace(value, "***")
    return IN_ADDRESS.sub("***@", text)
