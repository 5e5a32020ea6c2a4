"""Charts of an audit, drawn without any state of a plotting library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from chestx.datasets.baselines import SHORTCUTS, Shortcut
from chestx.rendering.document import PictureBlock

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

MAX_LINES = 60
"""Lines of a chart; the table has the rest."""


def draw_shortcuts(shortcuts: Sequence[Shortcut]) -> PictureBlock:
    """The best shortcut of each label and source, with its interval, against chance."""
    from matplotlib.figure import Figure as Canvas

    best: dict[tuple[str, str], Shortcut] = {}
    for found in shortcuts:
        key = (found.label, found.source)
        if key not in best or found.figure.value > best[key].figure.value:
            best[key] = found
    shown = list(best.values())[:MAX_LINES]
    canvas = Canvas(figsize=(8.5, 0.7 + 0.28 * len(shown)), layout="constrained")
    axes = canvas.subplots()
    for line, found in enumerate(shown):
        figure = found.figure
        if figure.low is not None and figure.high is not None:
            axes.plot([figure.low, figure.high], [line, line], color="#0b5cad", linewidth=2)
        axes.plot([figure.value], [line], "o", color="#0b5cad", markersize=5)
        axes.text(1.01, line, SHORTCUTS[found.shortcut], va="center", fontsize=8)
    axes.axvline(0.5, color="#4a5560", linestyle="--", linewidth=1)
    axes.set_yticks(
        range(len(shown)), [_plain(f"{found.label}, {found.source}") for found in shown], fontsize=8
    )
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(min(0.45, *(found.figure.value - 0.05 for found in shown)), 1.0)
    axes.set_xlabel("AUROC of a model that sees no lungs (0.5: chance)")
    axes.grid(axis="x", color="#cdd4dc", linewidth=0.5)
    return _to_picture(
        canvas,
        alt="Best AUROC without lungs by label and source, with intervals",
        caption="The strongest shortcut of each label and source.",
    )


def draw_ages(ages: Mapping[str, Sequence[float]]) -> PictureBlock:
    """Ages of the images with each label, as box plots (5th to 95th percentile)."""
    from matplotlib.figure import Figure as Canvas

    labels = list(ages)[:MAX_LINES]
    canvas = Canvas(figsize=(8.5, 0.8 + 0.35 * len(labels)), layout="constrained")
    axes = canvas.subplots()
    axes.boxplot(
        [list(ages[label]) for label in labels],
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        widths=0.6,
    )
    axes.set_yticks(
        range(1, len(labels) + 1), [f"{label} ({len(ages[label])})" for label in labels], fontsize=8
    )
    axes.invert_yaxis()
    axes.set_xlabel("age in years, where stated")
    axes.grid(axis="x", color="#cdd4dc", linewidth=0.5)
    return _to_picture(
        canvas,
        alt="Box plots of age by label",
        caption="Age by label: median, quartiles, 5th to 95th percentile.",
    )


def _plain(text: str) -> str:
    """A table's text with nothing that the plotting library would typeset or cannot draw."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)[:60].replace(
        "$", r"\$"
    )


def _to_picture(canvas: Canvas, *, alt: str, caption: str) -> PictureBlock:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    data = BytesIO()
    FigureCanvasAgg(canvas)
    canvas.savefig(data, format="png", dpi=110)
    return PictureBlock(
        data=data.getvalue(), media_type="image/png", alt=alt, caption=caption, width=860
    )
