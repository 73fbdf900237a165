"""Nothing that reads a file can run it: no pickle, eval or shell in the code, one way to unpack.

A name is followed to what it was imported as, and it is forbidden to have, not only to call: a
function that is renamed or handed on is found too.
"""

import ast
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for name in ("pipeline", "stages") for path in (ROOT / name).rglob("*.py"))
MODULES = {
    *("pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy"),
    *("tarfile", "zipfile", "xml", "pdb"),
    "yaml",  # PyYAML has loaders that call what a file names, and another dialect than DVC's
}
NAMES = (
    *("eval", "exec", "compile", "__import__", "__builtins__", "globals"),
    *("os.system", "os.popen", "os.exec*", "os.spawn*", "os.posix_spawn*", "pty.spawn"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "*.create_subprocess_shell"),
    *("torch.load", "torch.save", "torch.*.load", "torch.hub.load*", "torch.package.*"),
    *("torch.serialization.*", "torch.*.load_library", "torch.utils.cpp_extension.*"),
    *("torch.distributed.*_object", "torch.distributed.*_object_list"),
    *("numpy.load", "numpy.fromfile", "numpy.*.read_array", "pandas.read_*", "*.read_pickle"),
    *("onnx.load", "onnx.load_model", "onnx.load_external_data*", "onnx.hub.*"),
    *("*.register_custom_ops_library", "shutil.unpack_archive", "tempfile.mktemp"),
    *("yaml.unsafe_*", "yaml.full_*"),
    *("*.extractall", "*.extract", "*.unpack_archive", "ssl._create_unverified_context"),
)
"""Patterns of names from their module on, or of methods of whatever."""
CONSTANT = ("importlib.import_module", "ctypes.CDLL", "ctypes.cdll.*", "ctypes.*.LoadLibrary")
"""Patterns of functions that may be called with constants only."""
SHELLS = {"sh", "bash", "dash", "zsh", "csh", "ksh", "cmd", "powershell"}
KEYWORDS = {
    "shell": "False",
    "allow_pickle": "False",
    "weights_only": "True",
    "external_data": "False",
    "verify": "True",
    "check_hostname": "True",
    "trust_remote_code": "False",
    "autoescape": "True",
}
"""Keyword -> the only value that it may have."""
ALLOWED = {
    # ruamel's round trip, which constructs no objects, on a file that plain_values reads too
    ("pipeline/profiles.py", "YAML()"),
    ("pipeline/running/overrides.py", "YAML()"),
    ("pipeline/running/recorded.py", "YAML()"),
    ("pipeline/cache_keys.py", "YAML()"),
    # modules of the project, by names in its own sources
    ("pipeline/cache_keys.py", "importlib.import_module"),
    ("stages/here.py", "importlib.import_module"),
    # becomes the command that our own code gives it as a list
    ("pipeline/running/bound.py", "os.execv"),
    # Markdown, whose tables escape what they hold
    ("pipeline/exporting/card.py", "jinja2.Environment"),
    # weights of torchvision that the user has put there, read as tensors only (weights_only); the
    # module only names the error that anything else gives
    ("pipeline/referencing/frozen.py", "torch.load"),
    ("pipeline/referencing/frozen.py", "pickle"),
    # the user's photos, into a new folder that no name leads out of: zipfile leaves '..' and a
    # leading '/' out, tarfile refuses them (filter="data"); tests/data/test_archives.py tries both
    *(
        ("pipeline/data/archives.py", what)
        for what in ("zipfile", "file.extract", "tarfile", "file.extractall")
    ),
    # a package whose digest is compared before; of it three files are read by name
    ("pipeline/demo/runtime.py", "tarfile"),
}


def imported(tree: ast.AST) -> dict[str, str]:
    """Return what each imported name of a module stands for, from the top package on."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def dotted(node: ast.AST, names: Mapping[str, str]) -> str:
    """Return the full name of what an expression is, such as `torch.load`; '?' where unknown."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}".removeprefix("builtins.")
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id).removeprefix("builtins.")
    if isinstance(node, ast.Call) and dotted(node.func, names) == "getattr":
        name = node.args[1]
        known = isinstance(name, ast.Constant)
        return f"{dotted(node.args[0], names)}.{name.value if known else '?'}"
    return "?"


def forbidden(code: str) -> Iterator[str]:
    """Yield what is forbidden of the imports, names and calls in a source text."""
    tree = ast.parse(code)
    names = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            yield from (name for name in modules if name.partition(".")[0] in MODULES)
            if isinstance(node, ast.ImportFrom):
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (name for name in whole if matches(name, NAMES))
        called = dotted(node, names)
        is_free = matches(called, CONSTANT) and id(node) not in with_constants(tree)
        if is_free or matches(called, NAMES):
            yield called
        if isinstance(node, ast.Call):
            yield from calls(node, dotted(node.func, names))
        if isinstance(node, ast.List | ast.Tuple) and node.elts:
            first = node.elts[0]
            if isinstance(first, ast.Constant) and str(first.value).rpartition("/")[2] in SHELLS:
                yield ast.unparse(node)


def calls(node: ast.Call, called: str) -> Iterator[str]:
    """Yield what is forbidden of the arguments of a call."""
    if called.rpartition(".")[2] == "YAML" and "typ='safe'" not in ast.unparse(node):
        yield ast.unparse(node)
    if called in {"jinja2.Environment", "jinja2.Template"} and "autoescape" not in ast.unparse(
        node
    ):
        yield called
    yield from (
        f"{word.arg}=..."
        for word in node.keywords
        if word.arg in KEYWORDS and ast.unparse(word.value) != KEYWORDS[word.arg]
    )


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, one) for one in patterns)


def with_constants(tree: ast.AST) -> set[int]:
    """Return the functions that are called with constants only."""
    return {
        id(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and all(isinstance(argument, ast.Constant) for argument in node.args)
    }


def test_no_source_runs_what_it_reads() -> None:
    assert len(SOURCES) > 60
    found = {
        (str(path.relative_to(ROOT)), what)
        for path in SOURCES
        for what in forbidden(path.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "from torch.hub import joblib",
        "eval('1')",
        "torch.load(path)",
        "archive.extractall()",
        "os.system('true')",
        "subprocess.run('true', shell=True)",
        "np.load(path, allow_pickle=True)",
        "torch.onnx.export(model, external_data=True)",
        "YAML(typ='unsafe')",
        "import yaml",
        "from os import system; system(x)",
        "from torch import load; load(p)",
        "import torch as t; t.load(p)",
        "run = eval; run(x)",
        "map(eval, x)",
        "import builtins; builtins.eval(x)",
        "import os; getattr(os, 'system')(x)",
        "import os as o; o.execvp('sh', a)",
        "subprocess.run(['/bin/sh', '-c', x])",
        "asyncio.create_subprocess_shell(x)",
        "from importlib import import_module as get; get(x)",
        "importer = importlib.import_module",
        "ctypes.CDLL(x)",
        "torch.jit.load(p)",
        "torch.ops.load_library(p)",
        "from onnx import load_model",
        "onnx.hub.load(x)",
        "options.register_custom_ops_library(p)",
        "torch.distributed.all_gather_object(a, b)",
        "import jinja2 as j; j.Environment()",
        "jinja2.Environment(autoescape=False)",
        "requests.get(u, verify=False)",
    ],
)
def test_it_would_be_found(code: str) -> None:
    assert list(forbidden(code))


@pytest.mark.parametrize(
    "code",
    [
        "import_module('pillow_heif')",
        "ctypes.CDLL(None)",
        "re.compile(x)",
        "session.run(['probabilities'], {})",
        "safetensors.torch.load(content)",
        "import jinja2; jinja2.Environment(autoescape=True)",
    ],
)
def test_it_would_be_left_alone(code: str) -> None:
    assert list(forbidden(code)) == []
