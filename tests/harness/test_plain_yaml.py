"""A value in `params.yaml` means to the project what it means to DVC."""

import pytest
from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.harness.errors import ParamsError
from pipeline.harness.plain_yaml import plain_values

SPELLINGS = (
    *("yes", "no", "on", "off", "y", "n", "Yes", "true", "True", "TRUE", "false", "False"),
    *("null", "Null", "NULL", "~", "None", "nan", ".nan", ".NaN", ".inf", "-.INF", "+.inf", ""),
    *("0", "-0", "00", "010", "08", "-017", "+1", "1_000", "1__0", "1_", "0x10", "0X10", "0o10"),
    *("0o8", "0b11", "0b2", "0x1_0", "1:30", "1:30:00", "1.", ".5", "-.5", "5e-4", "5E-4", "1e3"),
    *("1.e3", ".3e-3", "1e5_0", "1_0.5", "1e400", "0.1e-400", "1.2.3", "e3", "1e", "-", "--", "+"),
    *(".", "...", "٣", "é", "'yes'", '"010"', "''", '""', "[1, 2]", "[yes, 010]", "{a: 1}", "[]"),
    *("a#b", "a #b", "1,5", "10%", "C:/x", "|\n  a\n  b", ">-\n  a\n  b", "[1", "%", "@a"),
    "!!int 3",
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_value_is_what_dvc_reads(spelling: str) -> None:
    text = f"key: {spelling}\n"
    try:
        theirs = repr(parse_yaml(text, "params.yaml"))
    except YAMLFileCorruptedError:
        theirs = None
    if theirs is None or "!!" in spelling:
        with pytest.raises(ParamsError, match=r"^here: line \d+: not YAML: "):
            plain_values(text, "here")
    else:
        assert repr(plain_values(text, "here")) == theirs


@given(st.text("+-.0123456789_eExobinfatrulsyTN~:#[]{}, '\"\n", max_size=12))
def test_no_text_means_one_thing_to_dvc_and_another_to_us(value: str) -> None:
    text = f"key: {value}\n"
    try:
        ours = plain_values(text, "here")
    except ParamsError:
        return
    assert repr(ours) == repr({str(name): one for name, one in parse_yaml(text, "").items()})


def test_a_number_has_the_spelling_of_yaml_1_2() -> None:
    text = "a: yes\nb: 010\nc: 0x10\nd: 3e-4\ne: 1:30\n"
    assert plain_values(text, "here") == {"a": "yes", "b": 10, "c": 16, "d": 0.0003, "e": "1:30"}
