"""Prefect flows around DVC: they schedule it, show its progress and retry it.

DVC decides which stages run. Only this package imports prefect; a deployment names a flow as
`pipeline.flows:reproduce`.
"""

import logging
import os

# No telemetry, wherever a worker starts a run: prefect.toml applies in the project's folder only.
os.environ.setdefault("DO_NOT_TRACK", "1")

from pipeline.flows.experimenting import experiment
from pipeline.flows.project import OnlyOnce
from pipeline.flows.registering import nightly
from pipeline.flows.reproducing import reproduce
from pipeline.flows.sweeping import sweep
from pipeline.flows.working import trial
from pipeline.running.redaction import hide_in_logs

logging.getLogger("prefect.flow_runs").addFilter(OnlyOnce())
hide_in_logs()  # what a server answers has its address in it, with the password

__all__ = ["experiment", "nightly", "reproduce", "sweep", "trial"]
