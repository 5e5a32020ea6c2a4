"""``chestx model list|show|verify|import|optimize``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from chestx.cli.console import make_console, make_printable, say
from chestx.cli.optimize import PrecisionOption, optimize_model
from chestx.domain import CAVEAT, Activation, UsageError
from chestx.learning.importing_description import (
    Gives,
    Heatmap,
    Layout,
    OnnxDescription,
    Values,
)

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
def verify_model(model: ModelArgument = None, precision: PrecisionOption = "f32") -> None:
    """Check every file of a model folder against its checksum, and that the network runs."""
    from chestx.models.classifier import Classifier
    from chestx.models.folder import resolve_model

    classifier = Classifier.load(resolve_model(model), precision=precision)
    classifier.check()
    at = f" at {classifier.identity.precision}" if classifier.identity.precision != "f32" else ""
    say(f"{classifier.identity}: every file is as its card says, and the network runs{at}")
    say(CAVEAT)


app.command("optimize")(optimize_model)

_ONNX = "ONNX:"


@app.command("import")
def import_model(
    file: Annotated[
        Path, typer.Argument(help="An .onnx graph, or a checkpoint of torchxrayvision.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The new model folder.", show_default=False)
    ],
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            help="torchxrayvision: name of the weights, if the file was renamed.",
            show_default=False,
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option("--texts", help="TOML with the texts of the card.", show_default=False),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="Radiographs like those it was made for: they set the likeness check and the "
            "strength of the maps.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            "--labels", help=f"{_ONNX} keys of the outputs, with commas.", show_default=False
        ),
    ] = "",
    no_finding: Annotated[
        str,
        typer.Option(
            "--no-finding", help=f"{_ONNX} the label that is no finding.", show_default=False
        ),
    ] = "",
    values: Annotated[
        Values | None,
        typer.Option("--range", help=f"{_ONNX} what black and white become.", show_default=False),
    ] = None,
    mean: Annotated[
        str,
        typer.Option(
            "--mean", help=f"{_ONNX} taken off after --range, with commas.", show_default=False
        ),
    ] = "",
    std: Annotated[
        str,
        typer.Option(
            "--std", help=f"{_ONNX} divided by after --mean, with commas.", show_default=False
        ),
    ] = "",
    layout: Annotated[
        Layout | None,
        typer.Option("--layout", help=f"{_ONNX} order of the input.", show_default=False),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", help=f"{_ONNX} side of the input, pixels.", show_default=False),
    ] = None,
    gives: Annotated[
        Gives | None,
        typer.Option("--gives", help=f"{_ONNX} what the output holds.", show_default=False),
    ] = None,
    activation: Annotated[
        Activation | None,
        typer.Option(
            "--activation", help=f"{_ONNX} from logits to probabilities.", show_default=False
        ),
    ] = None,
    tensor: Annotated[
        str,
        typer.Option("--tensor", help=f"{_ONNX} name of the output.", show_default=False),
    ] = "",
    heatmap: Annotated[
        Heatmap, typer.Option("--heatmap", help=f"{_ONNX} which maps it gets.")
    ] = Heatmap.AUTO,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Child processes that decode.", show_default=False),
    ] = None,
) -> None:
    """Make a model folder of a network that was trained elsewhere."""
    _check_training_stack()
    from chestx.learning.card_texts import read_card_texts
    from chestx.learning.importing import complete_texts, import_onnx, import_torchxrayvision

    given = None if texts is None else complete_texts(read_card_texts(texts))
    if file.suffix.lower() != ".onnx":
        _refuse_onnx_options(labels, no_finding, values, mean, std, layout, size, gives, tensor)
        card = import_torchxrayvision(
            file, output, weights=weights, texts=given, images=images, workers=workers
        )
    else:
        if values is None or not labels.strip() or weights is not None:
            raise UsageError(
                "an ONNX graph: expected --labels and --range, which it does not say of itself, "
                "and no --weights"
            )
        description = OnnxDescription(
            labels=tuple(item.strip() for item in labels.split(",")),
            no_finding=no_finding,
            values=values,
            mean=_read_numbers("--mean", mean),
            std=_read_numbers("--std", std),
            layout=layout,
            size=size,
            gives=gives,
            activation=activation,
            tensor=tensor,
            heatmap=heatmap,
        )
        card = import_onnx(
            file, output, description=description, texts=given, images=images, workers=workers
        )
    say(f"{card.name} {card.version}: {', '.join(label.key for label in card.labels)}")
    say(f"heatmap: {card.heatmap}; folder: {output}")
    for sentence in card.limitations:
        say(f"- {sentence}")
    say(CAVEAT)


def _check_training_stack() -> None:
    missing = [name for name in ("torch", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f'import: expected {" and ".join(missing)} to be installed; pip install "chestx[train]"'
        )


def _refuse_onnx_options(*options: object) -> None:
    if any(options):
        raise UsageError(
            "a checkpoint of torchxrayvision: expected none of the options of ONNX graphs, for "
            "its labels and values are known"
        )


def _read_numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(item) for item in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(f"{name}: expected numbers with commas, got {text!r:.80}") from None
