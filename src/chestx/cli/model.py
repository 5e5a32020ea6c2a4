"""``chestx model list|show|verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from chestx.cli.console import make_console, make_printable, say
from chestx.domain import CAVEAT

app = typer.Typer(help="The models that can speak, and what they say of themselves.")

ModelArgument = Annotated[
    str | None,
    typer.Argument(help="Model folder or name; default: the one shipped.", show_default=False),
]


@app.command("list")
def list_models() -> None:
    """List the shipped model and those in the folders of CHESTX_MODELS."""
    from rich.table import Table
    from rich.text import Text

    from chestx.models.folder import list_model_folders

    table = Table("model", "version", "checksum", "labels", box=None, pad_edge=False)
    table.add_column("folder", overflow="fold")
    for folder in list_model_folders():
        identity = folder.identity
        labels = ", ".join(label.key for label in folder.card.labels)
        cells = (identity.name, identity.version, identity.checksum[:12], labels, str(folder.path))
        table.add_row(*(Text(make_printable(cell)) for cell in cells))
    make_console().print(table)
    say(CAVEAT)


@app.command("show")
def show_model(model: ModelArgument = None) -> None:
    """Show a model's card: what it looks for, how good it is, where it fails."""
    from rich.markdown import Markdown

    from chestx.models.card import render_card
    from chestx.models.folder import load_model_folder, resolve_model

    folder = load_model_folder(resolve_model(model))
    text = render_card(folder.card, checksum=folder.identity.checksum)
    make_console().print(Markdown(make_printable(text)))


@app.command("verify")
def verify_model(model: ModelArgument = None) -> None:
    """Check every file of a model folder against its checksum, and that the network runs."""
    from chestx.models.classifier import Classifier
    from chestx.models.folder import resolve_model

    classifier = Classifier.load(resolve_model(model))
    classifier.check()
    say(f"{classifier.identity}: every file is as its card says, and the network runs")
    say(CAVEAT)
