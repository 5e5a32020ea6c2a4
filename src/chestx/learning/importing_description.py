"""What a person says of a graph that was trained elsewhere. Knows neither torch nor onnx."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chestx.domain import Activation


class Layout(StrEnum):
    """Order of an input's dimensions."""

    NCHW = "nchw"
    NHWC = "nhwc"


class Values(StrEnum):
    """Which numbers a network expects for black and white."""

    UNIT = "unit"
    BYTE = "byte"
    SIGNED = "signed"
    IMAGENET = "imagenet"
    CAFFE = "caffe"


class Gives(StrEnum):
    """What a network's output holds."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"


class Heatmap(StrEnum):
    """Which maps an imported network gets: ``auto`` is the best that it can."""

    AUTO = "auto"
    OCCLUSION = "occlusion"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxDescription:
    """What a graph does not say of itself.

    Attributes:
        labels: keys in the order of the outputs.
        values: what black and white become.
        no_finding: the label that is no finding; empty for none.
        mean, std: taken off and divided by after ``values``, one number or one a channel.
        layout: None where the shape of the input tells it.
        size: side of the input in pixels; None where the graph says it.
        gives: None where the last operator tells it.
        activation: None where the last operator tells it.
        tensor: name of the output, where the graph has several.
        heatmap: which maps are wanted.
    """

    labels: tuple[str, ...]
    values: Values
    no_finding: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Layout | None = None
    size: int | None = None
    gives: Gives | None = None
    activation: Activation | None = None
    tensor: str = ""
    heatmap: Heatmap = Heatmap.AUTO
