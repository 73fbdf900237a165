"""A Python process with this folder on its PYTHONPATH meets the fault named in FAULT."""

import os

if fault := os.environ.get("FAULT"):
    import injecting

    injecting.arm(fault)
