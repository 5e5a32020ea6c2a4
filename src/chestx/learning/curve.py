"""The curve of a run: a table and a page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from chestx import __version__
from chestx.learning.progress import EpochRecord, Progress
from chestx.rendering.document import (
    Document,
    Paragraph,
    PictureBlock,
    Section,
    Table,
    render_document,
)

HISTORY_COLUMNS = (
    "epoch",
    "train_loss",
    "validation_loss",
    "accuracy",
    "macro_auroc",
    "within_source_auroc",
    "learning_rate",
    "is_best",
)


def write_history(history: Sequence[EpochRecord]) -> str:
    """A row an epoch, as CSV; the same configuration and images give the same bytes."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    sources = sorted({name for epoch in history for name in epoch.figures.by_source})
    writer.writerow([*HISTORY_COLUMNS, *(f"auroc_{name}" for name in sources)])
    for epoch in history:
        figures = epoch.figures
        values = (
            epoch.train_loss,
            figures.loss,
            figures.accuracy,
            figures.macro_auroc,
            figures.within_source_auroc,
        )
        writer.writerow(
            [
                epoch.epoch,
                *(_write(value) for value in values),
                f"{epoch.learning_rate:.3g}",
                int(epoch.is_best),
                *(_write(figures.by_source.get(name, math.nan)) for name in sources),
            ]
        )
    return stream.getvalue()


def _write(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.5f}"


def render_curve(record: dict[str, Any], progress: Progress) -> str:
    """The page of a run, as it stands."""
    history = progress.history
    rows = [line.split(",") for line in write_history(history).splitlines()]
    best = next((epoch for epoch in history if epoch.epoch == progress.best_epoch), None)
    summary = [Paragraph(_describe_state(record, progress))]
    if best is not None:
        summary.append(
            Paragraph(
                f"Best epoch {best.epoch}: mean AUROC within sources "
                f"{_say(best.figures.within_source_auroc)}, all sources together "
                f"{_say(best.figures.macro_auroc)}. The epoch was chosen on these images, and the "
                "figure of all sources together rewards telling the sources apart."
            )
        )
    config = [(key, str(value)) for key, value in record["config"].items()]
    facts = [(key, str(record[key])) for key in _FACTS if key in record]
    return render_document(
        Document(
            title="Training",
            summary=summary,
            speaker=f"chestx {__version__}, run of {record['started']}",
            sections=[
                Section("Curve", [*_plot(history), _table("Epochs", rows[0], rows[1:])]),
                Section("Configuration", [_table("Values in force", ["key", "value"], config)]),
                Section("Provenance", [_table("Of this run", ["fact", "value"], facts)]),
            ],
        )
    )


_FACTS = (
    "manifest",
    "manifest_sha256",
    "split_sha256",
    "left_out",
    "images",
    "unreadable",
    "weights",
    "versions",
    "code_sha256",
    "started",
    "resumed",
    "hardware",
    "seconds",
)


def _table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return Table(caption=caption, columns=columns, rows=rows)


def _describe_state(record: dict[str, Any], progress: Progress) -> str:
    epochs = record["config"]["epochs"]
    images = record.get("images", {})
    return (
        f"{progress.epoch} of {epochs} epochs of {record['config']['backbone']} on "
        f"{images.get('train', 0):,} images, validated on {images.get('validation', 0):,}; "
        f"first weights: {record.get('weights', 'not loaded yet')}; {record['status']}."
    )


def _say(value: float) -> str:
    return "not known" if math.isnan(value) else f"{value:.3f}"


def _plot(history: Sequence[EpochRecord]) -> list[PictureBlock]:
    if not history:
        return []
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in history]
    left.plot(epochs, [epoch.train_loss for epoch in history], "o-", label="training, changed")
    left.plot(epochs, [epoch.figures.loss for epoch in history], "s--", label="validation")
    left.set(xlabel="epoch", ylabel="loss")
    right.plot(
        epochs, [x.figures.within_source_auroc for x in history], "o-", label="mean within sources"
    )
    right.plot(epochs, [x.figures.macro_auroc for x in history], "s--", label="all together")
    for name in sorted({name for x in history for name in x.figures.by_source}):
        values = [x.figures.by_source.get(name, math.nan) for x in history]
        right.plot(epochs, values, ":", linewidth=1, label=f"within {name}")
    right.set(xlabel="epoch", ylabel="AUROC, validation")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return [
        PictureBlock(
            data=stream.getvalue(),
            media_type="image/png",
            alt="Loss and AUROC by epoch; the numbers are in the table below.",
            caption="Loss, and AUROC on validation images, by epoch.",
            width=900,
        )
    ]


def to_plain(value: Any) -> Any:
    """Values that JSON knows: a number that is none becomes null."""
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
