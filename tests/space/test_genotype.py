"""A genotype is readable JSON, and other documents are refused."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given

from pipeline.harness.errors import GenotypeError
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Gene, Genotype, from_dict
from tests.conftest import blueprints_with_genotypes

GOOD: dict[str, Any] = {
    "schema": 1,
    "architectures": [
        {
            "name": "normal",
            "nodes": [
                [{"source": 0, "operation": "skip_connect"}, {"source": 1, "operation": "conv_1x1"}]
            ],
        }
    ],
}


@given(blueprints_with_genotypes())
def test_a_genotype_round_trips_through_json(pair: tuple[Blueprint, Genotype]) -> None:
    _, genotype = pair
    assert from_dict(json.loads(genotype.to_json())) == genotype


@given(blueprints_with_genotypes())
def test_equal_genotypes_give_equal_text_that_ends_with_a_newline(
    pair: tuple[Blueprint, Genotype],
) -> None:
    _, genotype = pair
    assert copy.deepcopy(genotype).to_json() == genotype.to_json()
    assert genotype.to_json().endswith("}\n")


def changed(*path: str | int, to: object) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    place: Any = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = to
    return document


def test_the_document_that_the_next_tests_break_is_good() -> None:
    (architecture,) = from_dict(GOOD).architectures
    assert architecture.nodes[0][1] == Gene(source=1, operation="conv_1x1")


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (changed("schema", to=2), "schema 1"),
        ([], "schema 1"),
        (None, "schema 1"),
        ({"schema": 1}, "architectures"),
        (changed("architectures", to=7), "malformed"),
        (changed("architectures", 0, to={"nodes": []}), "name"),
        (changed("architectures", 0, "nodes", to=None), "malformed"),
        (changed("architectures", 0, "nodes", 0, to=[]), "normal: node 0 has no incoming edge"),
        (changed("architectures", 0, "nodes", 0, 0, "source", to=1), "names a source twice"),
        (
            changed("architectures", 0, "nodes", 0, 0, "source", to=2),
            "source 2; it may take 0 to 1",
        ),
        (changed("architectures", 0, "nodes", 0, 0, "source", to=-1), "source -1"),
        (changed("architectures", 0, "nodes", 0, 0, "source", to="one"), "one"),
        (changed("architectures", 0, "nodes", 0, 0, "source", to=0.5), "0.5"),
        (changed("architectures", 0, "nodes", 0, 0, to={"source": 0}), "operation"),
        (changed("architectures", 0, "nodes", 0, 0, "operation", to=None), "None"),
    ],
)
def test_a_malformed_genotype_is_refused_by_name(document: object, named: str) -> None:
    with pytest.raises(GenotypeError) as refusal:
        from_dict(document)
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)
