"""`aso-se demo` as a command: what it serves, to whom, and how it begins and ends."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from pipeline.demo.command import GOLDEN, PAGE
from pipeline.demo.runtime import ARCHIVE, FILES, PACKAGE, PLACE, runtime
from pipeline.demo.serving import HEADERS, Server
from pipeline.exporting.golden import FOLDER

pytestmark = pytest.mark.xdist_group("browser")
MODEL = "artifacts/export/model.onnx"
COMMAND = [sys.executable, "-m", "pipeline", "demo", "--no-browser"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what stands for a model."""
    (tmp_path / MODEL).parent.mkdir(parents=True)
    (tmp_path / MODEL).write_bytes(b"a model")
    return tmp_path


@pytest.fixture
def fetched(clone: Path, tree: Path) -> Path:
    """The folder, into which the runtime was fetched."""
    (clone / PLACE).mkdir(parents=True)
    shutil.copy(tree / PLACE / ARCHIVE, clone / PLACE)
    return clone


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of a few files, beside one that is not served."""
    for name in ("page.html", "secret.html", "code.mjs", "code.wasm"):
        (tmp_path / name).write_text(f"this is {name}")
    served = {f"/{name}": tmp_path / name for name in ("page.html", "code.mjs", "gone.js")}
    made = Server({**served, "/": tmp_path / "page.html", "/code.wasm": b"wasm"}, 0)
    thread = Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def ask(
    server: Server, path: str, *, method: str = "GET", host: str = "127.0.0.1"
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send a request whose path nothing makes proper before."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", f"{host}:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, **changes}


def run(clone: Path, *words: str, **changes: str) -> tuple[int, str]:
    """Run the command in a folder to its end; return its exit code and what it says."""
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=clone,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("path", "kind", "content"),
    [
        ("/", "text/html; charset=utf-8", b"this is page.html"),
        ("/?query", "text/html; charset=utf-8", b"this is page.html"),
        ("/page.html", "text/html; charset=utf-8", b"this is page.html"),
        ("/code.mjs", "text/javascript; charset=utf-8", b"this is code.mjs"),
        ("/code.wasm", "application/wasm", b"wasm"),
    ],
)
def test_a_file_comes_with_its_type(server: Server, path: str, kind: str, content: bytes) -> None:
    status, headers, found = ask(server, path)
    assert (status, headers["Content-Type"], found) == (200, kind, content)


@pytest.mark.parametrize(
    "path",
    [
        *("/secret.html", "/../secret.html", "/./secret.html", "//secret.html", "secret.html"),
        *("/%2e%2e/secret.html", "/..%2fsecret.html", "/page.html/../secret.html", "//[", "/%00"),
        *("/gone.js", "/etc/passwd", "http://127.0.0.1/secret.html", "*"),
    ],
)
def test_no_path_leads_to_a_file_that_is_not_listed(
    server: Server, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    status, _, content = ask(server, path)
    assert status == 404
    assert b"this is" not in content
    assert capfd.readouterr() == ("", "")


def test_every_answer_forbids_the_page_to_load_from_or_send_to_another_host(
    server: Server,
) -> None:
    for path, host in (("/", "127.0.0.1"), ("/none", "127.0.0.1"), ("/", "example.com")):
        _, headers, _ = ask(server, path, host=host)
        assert all(headers[name] == value for name, value in HEADERS.items())
    policy = dict(one.split(" ", 1) for one in HEADERS["Content-Security-Policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("script-src") == "'self' 'wasm-unsafe-eval'"
    assert set(policy.values()) == {"'self'", "'none'"}


def test_a_name_of_another_site_gets_no_answer(server: Server) -> None:
    assert ask(server, "/", host="localhost")[0] == 200
    for host in ("example.com", "127.0.0.1.example.com", "", "[::1]"):
        assert ask(server, "/", host=host)[0] == 421


def test_nothing_can_be_sent_to_the_server(server: Server) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert ask(server, "/", method=method)[0] == 501


def test_only_this_machine_is_answered(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_a_browser_that_goes_away_leaves_no_traceback(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    server.files = {**server.files, "/large.wasm": bytes(50_000_000)}
    with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
        connection.sendall(b"GET /large.wasm HTTP/1.0\r\nHost: localhost\r\n\r\n")
        connection.recv(10)
    assert ask(server, "/")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    assert run(tmp_path) == (1, f"{MODEL}: no such file; 'aso-se run' exports a model\n")


def test_a_port_in_use_is_one_line(fetched: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, told = run(fetched, "--port", str(port))
    assert (code, told.count("\n")) == (1, 1)
    assert told.startswith(f"127.0.0.1:{port}: Address already in use; choose another port")


def test_without_npm_one_line_says_what_to_do_by_hand(clone: Path) -> None:
    code, told = run(clone, PATH=str(clone))
    assert (code, told.count("\n")) == (1, 2)
    assert "npm is not installed; install it, or run 'npm pack" in told
    assert told.endswith(f"put {ARCHIVE} into {PLACE}\n")


@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")
def test_without_a_network_one_line_says_what_to_do(clone: Path) -> None:
    offline = {"npm_config_cache": str(clone / "cache"), "npm_config_offline": "true"}
    code, told = run(clone, **offline)
    assert (code, told.count("\n")) == (1, 2)
    assert f"npm cannot fetch {PACKAGE} (npm error code ENOTCACHED); try again, or run" in told
    assert not list((clone / PLACE).iterdir())


def test_another_file_in_the_place_of_the_runtime_is_refused(clone: Path) -> None:
    (clone / PLACE).mkdir(parents=True)
    (clone / PLACE / ARCHIVE).write_bytes(b"something else")
    told = f"{PLACE / ARCHIVE}: its sha512 is not that of {PACKAGE}; remove it"
    assert run(clone) == (1, f"{told} and run 'aso-se demo' again\n")


def test_it_serves_until_ctrl_c_and_needs_no_npm_once_the_runtime_is_there(fetched: Path) -> None:
    # A shell that runs the tests in the background has them ignore SIGINT.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from pipeline.__main__ import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "demo", "--no-browser"],
        cwd=fetched,
        env=environment(PATH=str(fetched)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    line = process.stdout.readline()
    url = line.split()[1]
    assert line == f"demo: {url} (Ctrl-C ends it)\n"
    assert urlsplit(url).hostname == "127.0.0.1"
    paths = {"": PAGE / "index.html", "model.onnx": fetched / MODEL}
    paths |= {one.name: one for one in PAGE.iterdir()}
    for path, file in paths.items():
        with urlopen(url + path) as answer:  # noqa: S310 - of this machine
            assert answer.read() == file.read_bytes()
    for name in FILES:
        with urlopen(f"{url}runtime/{name}") as answer:  # noqa: S310 - as above
            assert answer.read(1)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate()
    assert (process.returncode, rest) == (0, "demo: ended\n")


def test_the_runtime_is_all_that_a_page_needs_and_under_a_permissive_licence(tree: Path) -> None:
    found = runtime(tree)
    assert set(found) == set(FILES)
    assert found["ort-wasm-simd-threaded.wasm"].startswith(b"\0asm")
    with tarfile.open(tree / PLACE / ARCHIVE) as members:
        facts = members.extractfile("package/package.json")
        assert facts
        assert b'"license": "MIT"' in facts.read()
    licences = Path(__file__).resolve().parents[2] / "docs" / "running.md"
    assert "`onnxruntime-web`" in licences.read_text().partition("## Licences")[2]


def test_the_page_and_the_golden_images_are_where_the_export_has_them() -> None:
    assert GOLDEN == FOLDER
    page = (PAGE / "index.html").read_text()
    assert "http" not in "".join(one.read_text() for one in PAGE.glob("*.[chj]*"))
    assert "style=" not in page
    assert "<script>" not in page
