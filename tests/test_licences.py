"""Every dependency may be used in what people sell, by its licence, or docs/running.md names it."""

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("dvc", "prefect", "heic", "parquet", "tensorboard", "mlflow", "dev")
"""Those that `make install` installs."""
PERMISSIVE = re.compile(
    r"\b(MIT|BSD|0BSD|3-Clause|Apache|ISC|PSF|Python Software Foundation|Zlib|Unlicense|CC0|BSL-1.0"
    r"|MPL|Mozilla|ZPL|Zope|CNRI|matplotlib|LLVM|NumPy)\b"
)
"""Words of licences without conditions on other code; MPL's are on its own files alone."""
COPYLEFT = re.compile(r"\bL?GPL|GNU ")
NAMED = {"grandalf", "pygit2", "pillow-heif"}
"""What docs/running.md names. The code of the last is under BSD, but its wheels hold x265."""
CHOSEN = {"asyncssh": "EPL", "dulwich": "Apache", "text-unidecode": "Artistic"}
"""What is under the GPL or, as one likes, another licence -> a word of that."""
NVIDIA = ("nvidia-", "cuda-toolkit")
"""Beginnings of the names of libraries of CUDA, which torch brings on Linux."""


def needed(*extras: str) -> dict[str, metadata.Distribution]:
    """Return all that is installed of what the project needs with these extras, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    direct = [*project["dependencies"], *(one for extra in extras for one in optional[extra])]
    found: dict[tuple[str, frozenset[str]], metadata.Distribution] = {}
    waiting = [Requirement(text) for text in direct]
    while waiting:
        one = waiting.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key not in found:
            for installed in metadata.distributions(name=one.name):
                found[key] = installed
                waiting += list(follows(installed, one.extras))
                break
    return {name: installed for (name, _), installed in found.items()}


def follows(installed: metadata.Distribution, extras: set[str]) -> Iterator[Requirement]:
    """Yield what a distribution needs here."""
    for one in map(Requirement, installed.requires or []):
        if not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            yield one


def licence(installed: metadata.Distribution) -> str:
    """Return the licence in a distribution's own words, '' if it says none."""
    facts = installed.metadata
    said = (
        facts.get("License-Expression") or (facts.get("License") or "").strip().partition("\n")[0]
    )
    classes = [line for line in facts.get_all("Classifier") or [] if line.startswith("License ::")]
    return said if PERMISSIVE.search(said) or COPYLEFT.search(said) else "; ".join([said, *classes])


def test_every_dependency_is_free_to_use_or_named() -> None:
    told = (ROOT / "docs/running.md").read_text(encoding="utf-8").partition("## Licences")[2]
    found = needed(*EXTRAS)
    assert len(found) > 100
    for name, installed in found.items():
        words = licence(installed)
        if name in NAMED:
            assert f"`{name}`" in told
        elif name in CHOSEN:
            assert CHOSEN[name] in words
        elif name.startswith(NVIDIA):
            assert "CUDA" in told
        else:
            assert PERMISSIVE.search(words), f"{name}: {words or 'says no licence'}"
            assert not COPYLEFT.search(words), f"{name}: {words}"


def test_what_is_under_the_gpl_comes_with_dvc_or_heic_alone() -> None:
    assert not NAMED & needed("prefect", "parquet").keys()
    assert {"grandalf", "pygit2"} <= needed("dvc").keys()
