"""Params are read once and whole; each mistake is one line that names file, key and value."""

import re
from pathlib import Path

import pytest

from pipeline.harness.errors import ParamsError
from pipeline.harness.params_file import parse_params, read_params
from pipeline.harness.section import Section, Seed
from pipeline.warming.params import WarmupParams

GOOD = """
seed: 3
warmup:
  epochs: 4
  skip_epochs: 1
  explore: 1
  ramp_epochs: 2
  schedule: cosine
  rising_epochs: 0
  learning_rate: 3e-4
  learning_rate_end: .5E-2
"""


class Params(Section):
    """Two sections of a file that may have more."""

    seed: Seed
    warmup: WarmupParams


def read(folder: Path, text: str | bytes, *, whole: bool = False) -> Params:
    path = folder / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_params(Params, path, whole=whole)


def refusal(folder: Path, text: str | bytes, *, whole: bool = False) -> str:
    """Return the line of the refusal, without the name of the file at its start."""
    with pytest.raises(ParamsError) as refused:
        read(folder, text, whole=whole)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{folder / 'params.yaml'}: ")
    return line.removeprefix(f"{folder / 'params.yaml'}: ")


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    params = read(tmp_path, GOOD)
    assert (params.warmup.learning_rate, params.warmup.learning_rate_end) == (3e-4, 5e-3)
    assert params.warmup.explore == 1.0  # a whole number is a number
    assert params.seed == 3


@pytest.mark.parametrize("number", ["3e-4", "3E-4", "+3.e-4", ".3e-3", "0.0003", "30e-05"])
def test_every_spelling_of_a_small_number_is_a_number(tmp_path: Path, number: str) -> None:
    assert read(tmp_path, GOOD.replace("3e-4", number)).warmup.learning_rate == pytest.approx(3e-4)


def test_other_sections_are_not_this_stages_business_unless_the_file_is_checked_whole(
    tmp_path: Path,
) -> None:
    text = GOOD + "serch:\n  epochs: many\n"
    assert read(tmp_path, text).seed == 3
    assert refusal(tmp_path, text, whole=True).startswith("serch: unknown key")


def test_a_stage_may_read_a_part_of_a_section(tmp_path: Path) -> None:
    text = GOOD + "  more: {deep: [1]}\n"
    assert read(tmp_path, text).warmup.epochs == 4
    assert refusal(tmp_path, text, whole=True).startswith("warmup.more: unknown key")

    class Inner(Section):
        kept: int

    class Outer(Section):
        inner: Inner

    class Whole(Section):
        outer: Outer

    nested = "outer:\n  inner: {kept: 1, dropped: 2}\n  dropped: 3\n"
    assert parse_params(Whole, nested, "here").outer.inner == Inner(kept=1)


def test_of_many_mistakes_twenty_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    text = GOOD + "".join(f"  zzz{number}: 1\n" for number in range(50))
    with pytest.raises(ParamsError) as refused:
        read(tmp_path, text, whole=True)
    lines = str(refused.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == f"{tmp_path / 'params.yaml'}: and 30 more"


def test_every_mistake_has_a_line(tmp_path: Path) -> None:
    text = GOOD.replace("seed: 3", "seed: -1").replace("epochs: 4", "epochs: 0")
    with pytest.raises(ParamsError) as refused:
        read(tmp_path, text)
    assert len(str(refused.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("epochs: 4", "epochs: true", "warmup.epochs: expected a valid integer, got True"),
        ("epochs: 4", "epochs: '4'", "warmup.epochs: expected a valid integer, got '4'"),
        ("epochs: 4", "epochs: 4.5", "warmup.epochs: expected a valid integer, got 4.5"),
        ("epochs: 4", "epochs:", "warmup.epochs: expected a valid integer, got None"),
        ("seed: 3", "seed: -3", "seed: expected greater than or equal to 0, got -3"),
        ("explore: 1", "explore: .nan", "warmup.explore: expected a finite number, got nan"),
        ("  explore: 1\n", "\n", "warmup.explore: missing; add 'explore: 1.0'"),
    ],
)
def test_a_mistake_is_one_line_with_key_expectation_and_value(
    tmp_path: Path, old: str, new: str, line: str
) -> None:
    assert refusal(tmp_path, GOOD.replace(old, new, 1)) == line


@pytest.mark.parametrize(("section", "key"), [("seed: 3", "seed"), ("  epochs: 4", "epochs")])
def test_a_key_that_stands_twice_is_refused_with_its_line(
    tmp_path: Path, section: str, key: str
) -> None:
    line = refusal(tmp_path, GOOD.replace(section, f"{section}\n{section}"))
    assert re.fullmatch(rf"line \d+: not YAML: duplicate key '{key}'", line)


def test_a_misspelt_key_is_one_mistake_with_a_suggestion(tmp_path: Path) -> None:
    line = refusal(tmp_path, GOOD.replace("skip_epochs", "skip_epoch"), whole=True)
    assert line == "warmup.skip_epoch: unknown key; did you mean 'skip_epochs'?"


def test_a_key_that_is_like_no_other_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    line = refusal(tmp_path, GOOD + "  zzz: 1\n", whole=True)
    assert line.startswith("warmup.zzz: unknown key; known here: schedule, learning_rate, ")


def test_a_contradiction_within_a_section_names_the_whole_key(tmp_path: Path) -> None:
    line = refusal(tmp_path, GOOD.replace("skip_epochs: 1", "skip_epochs: 5"))
    assert line == "warmup.skip_epochs: 5 of 4 epochs"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed: [", "not YAML"),
        ("seed:\t3\n\twarmup: 1", "not YAML"),
        ("seed: !!python/object/apply:os.getcwd []", "not YAML"),
        (b"seed: \xff\xfe", "cannot be read"),
        (b"seed: \x00", "not YAML"),
        ("", "expected sections"),
        ("- 1", "expected sections"),
        ("a: 1\n---\nb: 2", "not YAML"),
        ("seed: " + "[" * 2_000, "not YAML"),
        ("seed: &a [*a]\nwarmup: 1", ""),
        ("warmup: &a\n  epochs: *a\nseed: 1", ""),
        (GOOD + "  2001-01-01: 1\n", "2001-01-01 is a date; quote it to make it text"),
        ("seed: " + "9" * 5_000, ""),
        (GOOD.replace("seed: 3", "seed: 2001-13-45"), "line 2: not YAML: 2001-13-45 is a date"),
    ],
)
def test_a_file_that_holds_no_params_is_refused_with_a_reason(
    tmp_path: Path, text: str | bytes, named: str
) -> None:
    assert named in refusal(tmp_path, text)


def test_a_missing_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(ParamsError, match=r"no such file; 'aso-se profile digits' writes"):
        read_params(Params, path)
    with pytest.raises(ParamsError, match="cannot be read"):
        read_params(Params, tmp_path)
