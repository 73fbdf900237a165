"""The published notation names every cell of nasbench201, and other texts are refused."""

import json
from itertools import product

import pytest

from pipeline.harness.errors import GenotypeError
from pipeline.space.genotype import Gene, Genotype, from_dict
from pipeline.space.spaces.nasbench201 import NASBENCH201, from_arch_string, to_arch_string

PUBLISHED = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
)


def test_every_cell_round_trips_through_its_string() -> None:
    names = set()
    for a, b, c, d, e, f in product(NASBENCH201.names, repeat=6):
        text = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        architecture = from_arch_string(text)
        assert to_arch_string(architecture) == text
        names.add(architecture)
    assert len(names) == 15_625


def test_an_edge_that_is_none_is_absent_and_none_in_the_string_again() -> None:
    cell = from_arch_string(PUBLISHED)
    assert cell.nodes[0] == (Gene(source=0, operation="nor_conv_3x3"),)
    assert [gene.source for gene in cell.nodes[2]] == [0, 2]
    assert to_arch_string(cell) == PUBLISHED


def test_a_cell_from_its_string_is_a_genotype_that_round_trips_through_json() -> None:
    for text in (PUBLISHED, "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"):
        genotype = Genotype(space="nasbench201", architectures=(from_arch_string(text),))
        assert from_dict(json.loads(genotype.to_json())) == genotype


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "node 0: expected |operation~0| to ~0|, got ''"),
        ("nor_conv_3x3~0", "node 0: expected"),
        ("|nor_conv_3x3~1|", "node 0: expected"),
        ("|nor_conv_3x3~0|+|none~1|none~0|", "node 1: expected |operation~0| to ~1|"),
        ("|nor_conv_3x3~0|+|none~0|", "node 1: expected"),
        ("|none~0||none~1|", "node 0: expected"),
        ("|none~0|\n", "node 0: expected"),
        ("|none~00|", "node 0: expected"),
        ("|sep_conv_3x3~0|", "nasbench201 has no sep_conv_3x3"),
    ],
)
def test_what_is_no_such_string_is_refused_by_one_line(text: str, named: str) -> None:
    with pytest.raises(GenotypeError) as refusal:
        from_arch_string(text)
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)
