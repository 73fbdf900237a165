"""Texts of strangers, shown safely: names of classes and files, paths, values, words of a server.

Such a text may hold whatever its author liked: codes that move the cursor, characters that turn the
line around, HTML, links, formulas. Every text goes through one of these functions on its way to a
terminal, a log, a page, Markdown or a table.
"""

import html
import re

MEANT = re.compile(r"[\\`*\[\]|~$:@]|(?<=www)\.|(?<![^\W_])_|_(?![^\W_])", re.IGNORECASE)
"""What Markdown reads as emphasis, code, a link, mathematics or the end of a cell."""
FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20'")
"""First characters of cells that a spreadsheet computes (some take wide ones), and the one that
forbids it."""
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII)


class Markdown(str):
    """Text that is meant to be read as Markdown."""

    __slots__ = ()


def shown(text: object) -> str:
    """Return a text on one line, with everything escaped that is not printable.

    That is: line breaks, codes of a terminal, characters without width or of another direction.
    """
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in str(text))


def in_lines(text: str) -> str:
    """Return a text as `shown` does, but keep its line breaks and tabs."""
    return "".join(one if one in "\n\t" else shown(one) for one in text)


def markdown(text: object) -> Markdown:
    """Return a text that Markdown shows letter by letter; it stays if it is Markdown already."""
    if isinstance(text, Markdown):
        return text
    return Markdown(MEANT.sub(r"\\\g<0>", html.escape(shown(text), quote=False)))


def code(text: str) -> Markdown:
    """Return a word of ours as code in Markdown; it has neither '`' nor '|'."""
    return Markdown(f"`{text}`")


def cell(text: str) -> str:
    """Return a text as a cell of a csv or tsv file, one that no spreadsheet takes for a formula.

    Such a one begins with an apostrophe, and so does one that began with it before. A backslash is
    doubled. So two texts have two cells, by which a reader tells them apart.
    """
    plain = shown(text.replace("\\", "\\\\"))
    computed = plain.lstrip()[:1] in FORMULA and not NUMBER.fullmatch(plain)
    return f"'{plain}" if computed else plain
