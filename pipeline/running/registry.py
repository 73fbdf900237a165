"""The registered model, which others use and which only a better one replaces.

The registry has one folder per registered model; `current` is a link to the newest. It is replaced
in one step, so a reader never sees parts of two models.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pipeline.harness.errors import RunError
from pipeline.harness.records import write_json
from pipeline.running.results import copy_export, pick, read_metrics

Direction = Literal["maximize", "minimize"]
CURRENT = "current"
FACTS = "registration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the new model was registered, with the reason in one line."""

    registered: bool
    reason: str


def register(
    tree: Path, registry: Path, *, metric: str, direction: Direction, min_gain: float
) -> Verdict:
    """Register a tree's exported model if it beats the current one by `min_gain`.

    Raises:
        RunError: there is no such metric, or the registered model's facts cannot be read.
    """
    metrics = read_metrics(tree)
    value = pick(metrics, metric)
    model = tree / "artifacts" / "export" / "model.onnx"
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    images = _test_images(tree)
    old = current(registry)
    if old and old["model_sha256"] == digest:
        return Verdict(registered=False, reason=f"{metric} {value:.6g}: already registered")
    if old:
        before = pick(old["metrics"], metric)
        gain = value - before if direction == "maximize" else before - value
        reason = f"{metric} {value:.6g}, the registered model has {before:.6g}"
        if old["test_images_sha256"] != images:
            reason += " (on other test images)"
        if gain <= 0 or gain < min_gain:
            reason += f": not registered, expected a gain above 0 and at least {min_gain:g}"
            return Verdict(registered=False, reason=reason)
    else:
        reason = f"{metric} {value:.6g}, the first model"
    folder = registry / digest[:12]
    copy_export(tree, folder)
    facts = {
        "registered": datetime.now().astimezone().isoformat(timespec="seconds"),
        "model_sha256": digest,
        "test_images_sha256": images,
        "metrics": metrics,
    }
    write_json(folder / FACTS, facts)
    _point(registry / CURRENT, folder.name)
    return Verdict(registered=True, reason=f"{reason}: registered in {folder}")


def current(registry: Path) -> dict[str, Any] | None:
    """Return the facts of the registered model, or None if there is none.

    Raises:
        RunError: the facts cannot be read.
    """
    path = registry / CURRENT / FACTS
    if not (registry / CURRENT).is_symlink():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return {key: facts[key] for key in ("model_sha256", "test_images_sha256", "metrics")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: cannot be read ({error}); remove {registry / CURRENT} to register a new model"
        ) from None


def _test_images(tree: Path) -> str:
    dataset = json.loads((tree / "artifacts/prepare/dataset.json").read_text(encoding="utf-8"))
    return str(dataset["sha256"]["test"])


def _point(link: Path, target: str) -> None:
    made = link.with_name(f".{link.name}.partial")
    made.unlink(missing_ok=True)
    made.symlink_to(target)
    made.replace(link)
