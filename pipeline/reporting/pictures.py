"""All pictures of a run, by name of the file."""

from pipeline.reporting.cells import draw_cells
from pipeline.reporting.curves import draw_curves, draw_growth, draw_operations
from pipeline.reporting.finalists import draw_finalists
from pipeline.reporting.findings import Findings
from pipeline.reporting.heat_map import draw_edges
from pipeline.reporting.network import draw_network
from pipeline.reporting.outcome import draw_confusion
from pipeline.reporting.references import draw_references
from pipeline.reporting.sheets import draw_mistakes, draw_suspects
from pipeline.reporting.style import Picture, drawing, render

PICTURES = {
    "references": (draw_references, "Accuracy of the found network and of its references"),
    "cells": (draw_cells, "The cells that were found, as graphs"),
    "network": (draw_network, "The network that was found, part by part"),
    "curves": (draw_curves, "Accuracy, loss, temperature and entropy over all epochs"),
    "operations": (draw_operations, "Mean weight of each operation over the epochs"),
    "edges": (draw_edges, "The operation that each edge preferred, over the epochs"),
    "finalists": (draw_finalists, "Accuracy of the finalists of the search, until each was out"),
    "growth": (draw_growth, "Accuracy and size of the network through search and growth"),
    "confusion": (draw_confusion, "Confusion matrix of the test images"),
    "mistakes": (draw_mistakes, "The test images that were misclassified most confidently"),
    "suspects": (draw_suspects, "The images that are most likely mislabelled"),
}


def draw(findings: Findings) -> dict[str, Picture]:
    """Return every picture by its name; a search without finalists has none of them."""
    lacking = set() if findings.finalists else {"finalists"}
    with drawing():
        return {
            name: render(picture(findings), description)
            for name, (picture, description) in PICTURES.items()
            if name not in lacking
        }
