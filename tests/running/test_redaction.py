import os
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.running.redaction import hide

WORDS = st.text(st.characters(codec="ascii", exclude_characters="\0*"), max_size=20)
SECRETS = st.text(st.characters(codec="ascii", exclude_characters="\0*"), min_size=6, max_size=20)


@given(before=WORDS, secret=SECRETS, after=WORDS)
@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "my_token", "API_KEY", "DB_PASSWORD"])
def test_the_value_of_a_secret_variable_never_shows(
    name: str, before: str, secret: str, after: str
) -> None:
    with patch.dict(os.environ, {name: secret}, clear=True):
        assert secret not in hide(before + secret + after)


def test_a_password_in_an_address_never_shows() -> None:
    line = "ERROR: https://mary:wonder@host.example/path and s3://bucket/key"
    assert hide(line) == "ERROR: https://***@host.example/path and s3://bucket/key"


def test_what_is_no_secret_stays() -> None:
    with patch.dict(os.environ, {"KEYBOARD": "german", "MY_TOKEN": "a"}, clear=True):
        assert hide("a german keyboard, search 3/25: loss 2.3") == (
            "a german keyboard, search 3/25: loss 2.3"
        )
