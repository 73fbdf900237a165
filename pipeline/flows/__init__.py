"""Prefect over DVC: when and where it runs, what is seen of it, what happens when it fails.

DVC decides what runs. This package is the only one that imports prefect; a deployment names a flow
as `pipeline.flows:reproduce`.
"""

import os

# No telemetry, wherever a worker starts a run: prefect.toml counts in the project's folder only.
os.environ.setdefault("DO_NOT_TRACK", "1")

from pipeline.flows.experimenting import experiment
from pipeline.flows.registering import nightly
from pipeline.flows.reproducing import reproduce
from pipeline.flows.sweeping import sweep

__all__ = ["experiment", "nightly", "reproduce", "sweep"]
