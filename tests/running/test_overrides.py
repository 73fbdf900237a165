from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.harness.errors import ParamsError
from pipeline.running.overrides import compose, read_overrides, replace

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "params.yaml").read_text()
PARAMS = YAML(typ="safe").load(TEXT)
KEYS = [
    f"{section}.{name}"
    for section, values in PARAMS.items()
    if isinstance(values, dict)
    for name in values
] + ["seed"]
VALUES = st.one_of(
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6).map(lambda value: round(value, 6)),
    st.booleans(),
    st.none(),
    st.sampled_from(["auto", "hard", "no", "1e3", "", "010", "2020-01-01", "a: b", "#", "null"]),
    st.lists(st.sampled_from(["none", "skip_connect"]), max_size=3),
)


def look_up(document: Any, key: str) -> Any:
    for part in key.split("."):
        document = document[part]
    return document


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
@example({"growth.kinds": []})  # ruamel writes it as broken YAML if its comment stays as it is
def test_overrides_change_their_keys_and_nothing_else(overrides: dict[str, Any]) -> None:
    text = replace(TEXT, overrides)
    document = YAML(typ="safe").load(text)
    for key in KEYS:
        assert look_up(document, key) == overrides.get(key, look_up(PARAMS, key))


@given(st.sampled_from(KEYS))
def test_comments_stay(key: str) -> None:
    value = look_up(PARAMS, key)
    assert replace(TEXT, {key: value}).count("#") == TEXT.count("#")


def test_without_overrides_the_file_is_taken_as_it_is() -> None:
    assert compose(ROOT, None, {}) == TEXT


def test_a_profile_is_taken_with_overrides() -> None:
    text = compose(ROOT, "cifar10", {"search.arch_update_freq": 3})
    document = YAML(typ="safe").load(text)
    assert (document["data"]["name"], document["search"]["arch_update_freq"]) == ("cifar10", 3)


def test_words_are_read_as_the_file_is() -> None:
    words = ["seed=7", "network.max_skips=null", "network.operations=[none, skip_connect]"]
    assert read_overrides([*words, "data.path=a=b"]) == {
        "seed": 7,
        "network.max_skips": None,
        "network.operations": ["none", "skip_connect"],
        "data.path": "a=b",
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["seed"], "seed: expected KEY=VALUE, such as search.arch_update_freq=5"),
        (["seed="], "seed=: expected KEY=VALUE, such as search.arch_update_freq=5"),
        (["=7"], "=7: expected KEY=VALUE, such as search.arch_update_freq=5"),
        (["seed=7", "seed=8"], "seed=8: seed has a value already: 7"),
        (["seed=["], "seed=[: line 1: not YAML: expected the node content"),
    ],
)
def test_a_word_that_is_no_change_is_named(words: list[str], says: str) -> None:
    with pytest.raises(ParamsError) as caught:
        read_overrides(words)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("profile", "overrides", "says"),
    [
        (None, {"search.arch_upd_freq": 3}, "unknown key; did you mean 'arch_update_freq'?"),
        (None, {"serach.epochs": 3}, "serach: unknown key; did you mean 'search'?"),
        (None, {"search.epochs": "many"}, "search.epochs: expected a valid integer, got 'many'"),
        (None, {"seed.a": 3}, "seed.a: unknown key; 'seed' is a value, not a section"),
        (
            "cifar",
            {},
            "profiles/cifar.yaml: no such profile; there are: cifar10, cifar10-quick, digits",
        ),
    ],
)
def test_a_mistake_is_named(profile: str | None, overrides: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError) as caught:
        compose(ROOT, profile, overrides)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"\xff", b"seed: [", b"a: &a [1]\nb: *a\n", b"seed: !!int ''\n"]
)
@pytest.mark.parametrize("overrides", [{}, {"seed": 7}])
def test_a_file_that_holds_no_params_is_refused(
    content: bytes, overrides: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(ParamsError, match=r"params\.yaml") as refused:
        compose(tmp_path, None, overrides)
    assert len(str(refused.value).splitlines()) == 1
