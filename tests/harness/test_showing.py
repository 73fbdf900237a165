"""No text of a stranger does more than to be read."""

import csv
import unicodedata
from html.parser import HTMLParser
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.harness.showing import cell, code, in_lines, markdown, shown

TEXTS = st.text(max_size=30) | st.text("<>&[]()!*_~`|\\:/.@$#=+-'\" ab\x1b\u202e\n", max_size=30)
HOSTILE = [
    "<svg onload=alert(1)>",
    "[link](javascript:alert(1))",
    "![](https://host.example/pixel.png)",
    "<https://host.example>",
    "&lt;b&gt;",
    "a|b",
    "**bold** `code` ~~gone~~ _aside_",
    "\x1b[2Jcleared",
    "abc\u202egpj.exe",
    "two\nlines\r\x85\u2028",
]


def rendered(cell: str) -> tuple[list[str], str]:
    """Return the elements in a cell of a table of Markdown, and its text."""
    table = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    page = HTMLParser()
    elements: list[str] = []
    words: list[str] = []
    page.handle_starttag = lambda tag, _: elements.append(tag)  # type: ignore[method-assign]
    page.handle_data = words.append  # type: ignore[method-assign]
    page.feed(table.render(f"| class |\n| --- |\n| x{cell}x |"))
    assert elements[:8] == ["table", "thead", "tr", "th", "tbody", "tr", "td"][:8]
    return elements[7:], "".join(words).strip().removeprefix("class").strip()


@given(text=TEXTS)
def test_what_is_shown_is_printable_and_on_one_line(text: str) -> None:
    assert shown(text).isprintable()


@given(text=TEXTS)
def test_a_message_keeps_only_its_line_breaks_and_tabs(text: str) -> None:
    controls = {one for one in in_lines(text) if unicodedata.category(one) in {"Cc", "Cf", "Cs"}}
    assert controls <= {"\n", "\t"}
    assert in_lines(text).count("\n") == text.count("\n")


@given(text=TEXTS)
def test_markdown_shows_a_text_letter_by_letter(text: str) -> None:
    assert rendered(markdown(text)) == ([], f"x{shown(text)}x")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_is_text_in_markdown(text: str) -> None:
    assert rendered(markdown(text)) == ([], f"x{shown(text)}x")


def test_no_address_in_a_name_becomes_a_link_where_addresses_do() -> None:
    for text in ("https://host.example", "www.host.example", "mail@host.example"):
        assert text not in markdown(text)


def test_markdown_of_ours_and_plain_names_stay() -> None:
    assert markdown(code("model.onnx")) == "`model.onnx`"
    for plain in ("golden_retriever", "Katze (jung)", "1,234", "日本語", "it's 5.5"):
        assert markdown(plain) == plain


@given(text=TEXTS)
def test_no_cell_is_a_formula(text: str) -> None:
    assert not cell("=" + text).lstrip().startswith("=")
    assert not cell("@" + text).lstrip().startswith("@")


def test_a_number_is_a_number_in_a_cell() -> None:
    for number in ("-1", "+2.5", "-1.5e-07"):
        assert cell(number) == number
    for formula in ("-2+3", "+cmd|' /C calc'!A0", " =1", "-", "\uff1d1"):
        assert cell(formula).startswith("'")


@given(text=TEXTS)
def test_a_cell_passes_a_csv_file(text: str) -> None:
    written = StringIO()
    csv.writer(written, lineterminator="\n").writerow([cell(text), "end"])
    assert next(csv.reader(StringIO(written.getvalue()))) == [cell(text), "end"]


@given(one=TEXTS, other=TEXTS)
def test_no_two_texts_have_the_same_cell(one: str, other: str) -> None:
    for text in {other, shown(one), cell(one), one.removeprefix("'")}:
        assert (cell(text) == cell(one)) == (text == one)
