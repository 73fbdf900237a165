"""Run many stages without repeated imports, as forks of a process that has imported everything.

    python forking.py   # in the folder of a project

For each line on stdin, {"words": ["stages.warmup", ...], "fault": "write 3: ENOSPC"}, a fork
becomes `python -m stages.warmup ...` and meets the fault; the answer is a line: its exit code,
stdout and stderr. Only libraries are imported beforehand: the project's code is each fork's own.
"""

import importlib
import json
import os
import runpy
import sys
import tempfile
from typing import IO, Any, NoReturn

import injecting

LIBRARIES = (
    "numpy PIL.ImageOps pydantic ruamel.yaml rich.progress safetensors.torch onnx onnxruntime"
    " onnxscript torch._dynamo torch._export torch.onnx._internal.exporter._core"
    " torch.utils.flop_counter sklearn.datasets sklearn.metrics"
)
for library in LIBRARIES.split():
    importlib.import_module(library)


def become(words: list[str], fault: str, ends: tuple[IO[str], IO[str]]) -> NoReturn:
    """Become the stage, as after `python -m`."""
    for number, end in enumerate(ends, 1):
        os.dup2(end.fileno(), number)
    sys.argv = ["-m", *words[1:]]
    sys.orig_argv = [sys.executable, "-m", *words]
    sys.path[0] = ""
    if fault:
        injecting.arm(fault)
    code: object = 0
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException as error:  # noqa: BLE001 - Python's own last resort
        try:
            sys.excepthook(type(error), error, error.__traceback__)
            code = 1
        except SystemExit as end:
            code = end.code
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 0)  # at exit, libraries wait for lost threads


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one stage to its end."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        child = os.fork()
        if child == 0:
            become(request["words"], request["fault"], (output, errors))
        _, status = os.waitpid(child, 0)
        texts = {}
        for name, file in (("output", output), ("errors", errors)):
            file.seek(0)
            texts[name] = file.read()
    return {"code": os.waitstatus_to_exitcode(status), **texts}


for line in iter(sys.stdin.readline, ""):
    sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
    sys.stdout.flush()
