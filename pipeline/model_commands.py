"""The commands of `aso-se` about a finished model; each is a thin call."""

from pathlib import Path
from typing import Annotated

import typer

models = typer.Typer()
EXPORTED = Path("artifacts/export/model.onnx")
"""The model that a run exports."""


@models.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An exported model.onnx.")],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="Files, folders or patterns such as '*.png'."),
    ],
    *,
    top: Annotated[
        int, typer.Option("--top", min=1, metavar="N", help="Classes to show per image.")
    ] = 3,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, for programs.")
    ] = False,
) -> int:
    """Name what is on images. The exit code is 1 if the model or an image is unusable."""
    from pipeline.predicting import show  # noqa: PLC0415 - the rest needs no ONNX Runtime

    return show(model, images, top=top, as_json=as_json)


@models.command()
def demo(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="An exported model.onnx.")
    ] = EXPORTED,
    *,
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="Port of the page. Without it, one that is free.",
            show_default=False,
        ),
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open the page.")
    ] = True,
) -> int:
    """Try the model in a browser: drop, draw or photograph an image.

    Images stay on this machine. The first time it fetches ONNX Runtime's build for browsers with
    npm; from then on it needs no network. Runs until you stop it.
    """
    from pipeline.demo.command import demo as serve_page  # noqa: PLC0415 - a check needs none

    return serve_page(Path.cwd(), model, port=port, browser=browser)


@models.command()
def publish(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder to write.")],
    *,
    licence: Annotated[
        str | None,
        typer.Option("--license", metavar="NAME", help="Licence of the model, such as apache-2.0."),
    ] = None,
) -> int:
    """Lay out the exported model as a repository for Hugging Face.

    Nothing is uploaded; the last line is the command that does it.
    """
    from pipeline.running.publishing import publish as lay_out  # noqa: PLC0415 - as demo

    return lay_out(Path.cwd(), folder, licence)
