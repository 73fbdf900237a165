from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.harness.errors import RunError
from pipeline.running.graph import Stage, read_graph, touched

ROOT = Path(__file__).resolve().parents[2]
NAMES = list("abcdef")


@st.composite
def graphs(draw: st.DrawFn) -> list[Stage]:
    """Draw stages, each after all that it reads from; each reads a section of its own name."""
    return [
        Stage(
            name=name,
            description="",
            params=frozenset({name}),
            after=frozenset(draw(st.sets(st.sampled_from(NAMES[:number] or ["none"])))) - {"none"},
        )
        for number, name in enumerate(NAMES)
    ]


def test_the_projects_stages_come_in_the_order_of_the_pipeline() -> None:
    names = [stage.name for stage in read_graph(ROOT)]
    phases = ["warmup", "search", "growth", "optimize"]
    assert names == ["check", "prepare", *phases, "derive", "reference", "export", "report"]


def test_every_stage_comes_behind_what_it_reads_from() -> None:
    done: set[str] = set()
    for stage in read_graph(ROOT):
        assert stage.after <= done
        done.add(stage.name)


def test_a_param_of_search_touches_search_and_what_follows() -> None:
    found = touched(read_graph(ROOT), ["search.arch_update_freq"])
    assert found == {"search", "growth", "optimize", "derive", "reference", "export", "report"}


def test_the_seed_touches_all_but_the_check() -> None:
    graph = read_graph(ROOT)
    assert touched(graph, ["seed"]) == {stage.name for stage in graph} - {"check"}


@given(graphs(), st.sampled_from(NAMES))
def test_what_a_param_touches_is_its_stage_and_all_that_follow_any_touched(
    graph: list[Stage], key: str
) -> None:
    found = touched(graph, [f"{key}.epochs"])
    for stage in graph:
        assert (stage.name in found) == (stage.name == key or bool(stage.after & found))


def test_a_folder_without_a_pipeline_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"dvc\.yaml: no such file"):
        read_graph(tmp_path)
