"""What DVC and its stages write is shown, all but DVC's advice at the end."""

import os
import sys
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.running.screen import Advice, Screen

SAID = b"Running stage 'search':\nsearch 1/2: loss 1.0\rsearch 2/2: loss 0.9\n\nUpdating lock\n"
ADVICE = (
    b"\nTo track the changes with git, run:\n\n\tgit add dvc.lock 'a b/.gitignore'\n"
    b"\nTo enable auto staging, run:\n\n\tdvc config core.autostage true\n"
    b"Use `dvc push` to send your updates to remote storage.\n"
)


def shown(content: bytes, cuts: list[int], *, at_once: bool) -> bytes:
    """Pass bytes on in pieces."""
    places = sorted({min(cut, len(content)) for cut in cuts} | {0, len(content)})
    advice = Advice(at_once)
    return b"".join(advice.pass_on(content[a:b]) for a, b in pairwise(places))


@given(st.lists(st.integers(0, len(SAID + ADVICE)), max_size=9), st.booleans())
def test_advice_is_taken_out_however_the_bytes_arrive(cuts: list[int], at_once: bool) -> None:
    assert shown(SAID + ADVICE, cuts, at_once=at_once) == SAID


@given(st.text("ab \n\r\tTUge`"), st.lists(st.integers(0, 40), max_size=5), st.booleans())
def test_whatever_else_is_said_is_shown_byte_for_byte(
    text: str, cuts: list[int], at_once: bool
) -> None:
    content = text.encode() + b"\nend\n"
    assert shown(content, cuts, at_once=at_once) == content


def test_a_log_gets_whole_lines_only() -> None:
    advice = Advice(at_once=False)
    assert advice.pass_on(b"search: hel") == b""
    assert advice.pass_on(b"lo\nsearch 1/2") == b"search: hello\n"


def test_a_bar_that_is_redrawn_is_shown_at_once() -> None:
    advice = Advice(at_once=True)
    assert advice.pass_on(b"\r\x1b[2K search epoch 1/2") == b"\r\x1b[2K search epoch 1/2"
    assert advice.pass_on(b"\r\x1b[2K search epoch 2/2") == b"\r\x1b[2K search epoch 2/2"
    assert advice.pass_on(b"\n") == b"\n"
    assert advice.pass_on(b"Use") == b""  # it may yet become advice
    assert advice.pass_on(b" it\n") == b"Use it\n"


def test_when_nobody_reads_what_is_shown_the_child_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", nobody)
        screen = Screen.open()
        inside = os.dup(screen.inside)
        screen.begin()
        os.write(inside, SAID)
        screen.end()
        with pytest.raises(BrokenPipeError):  # not blocked for ever when the pipe is full
            os.write(inside, SAID)
        os.close(inside)
        with suppress(BrokenPipeError):
            nobody.close()


def test_what_is_not_a_terminal_gets_a_pipe(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    screen = Screen.open()
    assert not os.isatty(screen.inside)
    inside = os.dup(screen.inside)
    screen.begin()
    os.write(inside, SAID + ADVICE)
    os.close(inside)
    screen.end()
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == SAID
