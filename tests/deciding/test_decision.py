"""What is decided: the strongest edges and operations, ties and limits by rules."""

from math import log

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.deciding.decision import concentration, decide, entropy
from pipeline.harness.errors import ParamsError
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Architecture, Genotype
from pipeline.space.params import GenotypeParams
from pipeline.space.relaxation import genotype_weights
from tests.conftest import blueprints, blueprints_with_genotypes, tiny_blueprint
from tests.space.test_relaxation import searches


@given(st.integers(2, 12), st.floats(-50, 50))
def test_entropy_of_equal_logits_is_that_of_a_fair_draw(operations: int, level: float) -> None:
    nats = entropy(torch.full((2, 3, operations), level))
    torch.testing.assert_close(nats, torch.full((2, 3), log(operations)))


def test_entropy_of_decided_logits_is_zero() -> None:
    assert entropy(40 * torch.eye(4)[None]).max() < 1e-6


@given(searches())
def test_concentration_says_how_decided_the_architecture_is(
    search: tuple[Blueprint, Tensor],
) -> None:
    blueprint, logits = search
    facts = concentration(logits, blueprint.operations)
    assert facts["entropy"] == pytest.approx(float(entropy(logits).mean()), rel=1e-4)
    assert facts["entropy_fraction"] == pytest.approx(
        facts["entropy"] / log(len(blueprint.operations))
    )
    assert 0 <= facts["entropy_fraction"] <= 1 + 1e-9
    assert 1 / len(blueprint.operations) <= facts["max_weight"] + 1e-9
    assert sum(facts[f"share_{name}"] for name in blueprint.operations) == pytest.approx(1)


@given(searches())
def test_the_decision_keeps_the_strongest_edges_with_their_strongest_operation(
    search: tuple[Blueprint, Tensor],
) -> None:
    blueprint, logits = search
    space, operations = blueprint.rules, range(len(blueprint.operations))
    allowed = [index for index in operations if space.cuts or index != blueprint.none]
    for found, rows in zip(
        decide(logits, blueprint).architectures, logits.softmax(-1), strict=True
    ):
        for node, genes in enumerate(found.nodes):
            edges = {s: rows[i] for i, (s, target) in enumerate(blueprint.edges) if target == node}
            strengths = {source: max(row[allowed].tolist()) for source, row in edges.items()}
            kept = {gene.source for gene in genes}
            most = min(space.edges_per_node, node + len(space.inputs))
            if not space.cuts:
                assert len(kept) == most
                weakest = min(strengths[source] for source in kept)
                assert all(strengths[source] <= weakest for source in strengths.keys() - kept)
            for gene in genes:
                assert gene.operation != "none"
                chosen = edges[gene.source][blueprint.operations.index(gene.operation)]
                assert chosen == strengths[gene.source]


@given(blueprints(spaces=("darts",)))
def test_ties_go_to_the_first_operation_and_the_first_edges(blueprint: Blueprint) -> None:
    logits = torch.zeros(blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    first = next(name for name in blueprint.operations if name != "none")
    for architecture in decide(logits, blueprint).architectures:
        for node, genes in enumerate(architecture.nodes):
            count = min(blueprint.rules.edges_per_node, node + 2)
            assert [gene.source for gene in genes] == list(range(count))
            assert {gene.operation for gene in genes} == {first}


@given(blueprints_with_genotypes())
def test_a_genotype_that_is_certain_is_decided_on(pair: tuple[Blueprint, Genotype]) -> None:
    blueprint, genotype = pair
    weights = genotype_weights(genotype, blueprint)
    logits = torch.zeros(blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    for architecture, edges in enumerate(weights.active):
        for edge, active in enumerate(edges):
            logits[architecture, edge, list(active)] = 9.0
    for found, wanted in zip(
        decide(logits, blueprint).architectures,
        genotype.architectures,
        strict=True,
    ):
        for genes, expected in zip(found.nodes, wanted.nodes, strict=True):
            assert set(expected) <= set(genes)


@given(searches(), st.integers(0, 4))
def test_a_cell_keeps_no_more_skip_connections_than_it_may(
    search: tuple[Blueprint, Tensor], most: int
) -> None:
    blueprint, logits = search
    assume(len(blueprint.operations) > 2)
    logits[..., blueprint.skip] += 2.0
    free = decide(logits, blueprint)
    rules = GenotypeParams(edges_per_node=blueprint.rules.edges_per_node, max_skips=most)
    limited = decide(logits, blueprint, rules)
    for one, other in zip(free.architectures, limited.architectures, strict=True):
        assert skips_of(other) <= most
        assert (one == other) == (skips_of(one) <= most)
        if not blueprint.rules.cuts:
            assert [len(genes) for genes in one.nodes] == [len(genes) for genes in other.nodes]


def skips_of(architecture: Architecture) -> int:
    return sum(gene.operation == "skip_connect" for genes in architecture.nodes for gene in genes)


def test_the_weakest_skip_connection_gives_way_to_the_next_best_operation() -> None:
    blueprint = tiny_blueprint(nodes=1)
    logits = torch.zeros(blueprint.architectures, 2, len(blueprint.operations))
    logits[:, 0, blueprint.skip], logits[:, 1, blueprint.skip] = 3.0, 2.0
    best = next(i for i, name in enumerate(blueprint.operations) if "conv" in name)
    logits[:, :, best] = 1.0
    rules = GenotypeParams(edges_per_node=2, max_skips=1)
    for architecture in decide(logits, blueprint, rules).architectures:
        operations = [gene.operation for gene in architecture.nodes[0]]
        assert operations == ["skip_connect", blueprint.operations[best]]


def test_a_limit_that_nothing_can_keep_is_refused_in_one_line() -> None:
    blueprint = tiny_blueprint(operations=("none", "skip_connect"))
    logits = torch.zeros(blueprint.architectures, len(blueprint.edges), 2)
    rules = GenotypeParams(edges_per_node=2, max_skips=1)
    with pytest.raises(ParamsError, match=r"^network\.max_skips: a limit needs operations"):
        decide(logits, blueprint, rules)


def test_an_operation_without_any_weight_is_decided_on_rather_than_a_disabled_one() -> None:
    blueprint = tiny_blueprint(nodes=1)
    logits = torch.zeros(blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    logits[..., 1], logits[..., 3] = -torch.inf, -500.0
    rules = GenotypeParams(edges_per_node=2, max_skips=1)
    for architecture in decide(logits, blueprint, rules).architectures:
        operations = {gene.operation for gene in architecture.nodes[0]}
        assert operations == {"skip_connect", blueprint.operations[3]}
