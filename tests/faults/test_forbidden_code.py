"""Nothing that reads a file can run it: no pickle, eval or shell in the code, one way to unpack."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for name in ("pipeline", "stages") for path in (ROOT / name).rglob("*.py"))
MODULES = {
    *("pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy"),
    *("tarfile", "zipfile", "xml"),
    "yaml",  # PyYAML has loaders that call what a file names, and another dialect than DVC's
}
CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput"),
    *("torch.load", "torch.save", "torch.hub.load", "numpy.load", "np.load", "np.fromfile"),
    "onnx.load",
    *("shutil.unpack_archive", "tempfile.mktemp"),
}
METHODS = {"extractall", "extract", "unpack_archive", "read_pickle"}
ALLOWED = {
    # ruamel's round trip, which constructs no objects, on a file that plain_values reads too
    ("pipeline/profiles.py", "YAML()"),
    ("pipeline/running/overrides.py", "YAML()"),
    ("pipeline/cache_keys.py", "YAML()"),
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
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def forbidden(code: str) -> Iterator[str]:
    """Yield the forbidden calls and imports in a source text."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            names = [module, *(alias.name for alias in node.names)]
            yield from (name for name in names if name.partition(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in CALLS or called.rpartition(".")[2] in METHODS:
                yield called
            if called == "YAML" and "typ='safe'" not in ast.unparse(node):
                yield ast.unparse(node)
            yield from (
                f"{word.arg}=..."
                for word in node.keywords
                if (word.arg == "shell" and ast.unparse(word.value) != "False")
                or word.arg == "allow_pickle"
                or (word.arg == "weights_only" and ast.unparse(word.value) != "True")
                or (word.arg == "external_data" and ast.unparse(word.value) != "False")
            )


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
    ],
)
def test_it_would_be_found(code: str) -> None:
    assert list(forbidden(code))
