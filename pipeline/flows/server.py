"""The Prefect server: whether it answers, and one line if it does not."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.settings import PREFECT_API_URL

from pipeline.harness.errors import RunError
from pipeline.running.redaction import hide

SECONDS_TO_ANSWER = 10.0


def require_server() -> None:
    """Raise RunError unless a Prefect server answers."""
    url = address()
    start = "start one with 'prefect server start'"
    if not url:
        raise RunError(
            f"PREFECT_API_URL: not set; {start} and export"
            " PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    try:
        httpx.get(f"{url}/health", timeout=SECONDS_TO_ANSWER).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RunError(
            f"{hide(url)}: no Prefect server answers ({reason(error)}); {start}, or run without"
            " Prefect: 'dvc repro'"
        ) from None


@contextmanager
def answered() -> Iterator[None]:
    """Raise RunError, one line, if the Prefect server fails while the block runs."""
    try:
        yield
    except httpx.HTTPError as error:
        raise RunError(f"{hide(address())}: the Prefect server failed ({reason(error)})") from None


def address() -> str:
    """Return the address of the server's API; '' if none is set."""
    return (PREFECT_API_URL.value() or "").rstrip("/")


def reason(error: Exception) -> str:
    """Return one line that says why the server did not answer."""
    return hide(str(error).partition("\n")[0]) or type(error).__name__
