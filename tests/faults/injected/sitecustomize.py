"""With this folder on its PYTHONPATH a Python process meets the fault that FAULT names."""

import os

if fault := os.environ.get("FAULT"):
    import injecting

    injecting.arm(fault)
