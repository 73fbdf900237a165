"""The report: one HTML page that contains everything.

It loads nothing, runs no script, and is readable in a light and a dark colour scheme. Its text
depends only on its arguments.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from pipeline.comparison.references import sentence
from pipeline.harness.showing import shown
from pipeline.reporting.costs import shares
from pipeline.reporting.findings import PHASES, Findings
from pipeline.reporting.outcome import confusions
from pipeline.reporting.predictions import mistakes
from pipeline.reporting.style import Picture, colors
from pipeline.summaries.summary import image_passes, summary

TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A row of the table of phases.

    summary: line about it. share: part of the image passes of all phases. measured: split on which
    the accuracies were measured. verdicts: verdict -> number of epochs. disabled: epoch ->
    operations that failed in it and were disabled.
    """

    name: str
    summary: str
    share: float
    first: int
    last: int
    measured: str
    best: float
    end: float
    loss: float
    entropy: float | None
    parameters: int
    recoveries: int
    health: float
    verdicts: Mapping[str, int]
    disabled: Mapping[int, str]


def page(findings: Findings, pictures: Mapping[str, Picture], params: Mapping[str, Any]) -> str:
    """Return the page; params: section -> key -> value, or name -> value."""
    environment = jinja2.Environment(
        autoescape=True,
        finalize=_printable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda fraction: f"{fraction:.1%}"
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    sections = {
        name: _entries(value, findings.defaults.get(name)) for name, value in params.items()
    }
    entries = [entry for section in sections.values() for entry in section.values()]
    return template.render(
        findings=findings,
        dataset=findings.dataset,
        metrics=findings.metrics,
        phases=[phase(findings, name, params.get(name, {})) for name in PHASES],
        mistakes=len(mistakes(findings.predictions)),
        confusions=confusions(findings),
        replaced=sum(one.has_file and not one.is_original for one in findings.photos.values()),
        finalists=len({row["finalist"] for row in findings.finalists}),
        grown=any(cell.grown for cell in findings.blueprint.cells),
        references=findings.references,
        who_wins=sentence(findings.references),
        pictures=pictures,
        shares=list(shares(findings)),
        asked=findings.parity.get("target", {}),
        sections=sections,
        known=len(entries),
        changed=sum(bool(default) for _, default in entries),
        colors=colors(),
    )


def phase(findings: Findings, name: str, params: Mapping[str, Any]) -> Phase:
    """Summarise the epochs of one phase. params: its section."""
    rows = findings.histories[name]
    validated = "validation_accuracy" in rows[-1]
    accuracy = "validation_accuracy" if validated else "train_accuracy"
    last = rows[-1]
    passes = {one: _passes(findings, one) for one in PHASES}
    return Phase(
        name=name,
        summary=summary(
            rows,
            finals=findings.finalists if name == "search" else (),
            edges=sum(one.epoch == last["epoch"] for one in findings.preferences),
            growths=findings.growths if name == "growth" else None,
            keeps_best=name == "optimize" and bool(params.get("patience")),
        ),
        share=passes[name] / sum(passes.values()),
        first=int(rows[0]["epoch"]),
        last=int(last["epoch"]),
        measured="validation" if validated else "training",
        best=max(float(row[accuracy]) for row in rows),
        end=float(last[accuracy]),
        loss=float(last["train_loss"]),
        entropy=float(last["entropy"]) if "entropy" in last else None,
        parameters=int(last.get("parameters", findings.metrics["parameters"])),
        recoveries=int(last["recoveries"]),
        health=min(float(row["health"]) for row in rows),
        verdicts=Counter(str(row["verdict"]) for row in rows if row["verdict"]),
        disabled={int(row["epoch"]): str(row["disabled"]) for row in rows if row.get("disabled")},
    )


def _passes(findings: Findings, name: str) -> int:
    """Return the image passes of a phase; those of the finalists are of search."""
    finals = findings.finalists if name == "search" else []
    return image_passes([*findings.histories[name], *finals])


def _printable(value: object) -> object:
    """Return a value as the page shows it: texts as `shown` does, but for what is HTML already."""
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _entries(value: Any, default: Any) -> dict[str, tuple[str, str]]:
    """Return the value of each key, and its default if that is another, else ''.

    A param that is in no section has no key.
    """
    if not isinstance(value, Mapping):
        value, default = {"": value}, {"": default}
    usual = default or {}
    return {
        key: (_shown(one), "" if one == usual.get(key) else _shown(usual.get(key)))
        for key, one in value.items()
    }


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
