"""Several networks, or several views of an image, that answer as one.

Every member gives calibrated probabilities, by its own temperature, and their mean is the
ensemble's. To all that comes after, an ensemble is one more network: its logits are those
that give the mean back, so temperature and thresholds of its own can be chosen on them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from chestx.domain import Activation, InvalidModelError, ModelCard, Precision, UsageError
from chestx.models.devices import Device
from chestx.models.folder import ENSEMBLE, ModelFolder
from chestx.models.records import build_record, parse_json
from chestx.models.runtime import GraphShape, Outputs, Runtime, RuntimeKind, load_runtime
from chestx.models.scope import Reference
from chestx.shapes import Float32, Float64, UInt8

ZOOM = 1.1
"""How much larger the middle of the image is in the view ``zoom``."""


class View(StrEnum):
    """A fixed change of the model's input under which the answer should stay the same.

    ``flip`` swaps left and right, as in a person whose organs lie the other way round: a
    network that was not trained on flipped images may take it for a disease.
    """

    PLAIN = "plain"
    FLIP = "flip"
    ZOOM = "zoom"


def apply_view(
    view: View, pixels: UInt8[np.ndarray, "batch 1 size size"]
) -> UInt8[np.ndarray, "batch 1 size size"]:
    """The images as a network sees them in this view."""
    if view is View.FLIP:
        return np.ascontiguousarray(pixels[..., ::-1])
    if view is View.ZOOM:
        return np.stack([_scale(image[0], 1 / ZOOM)[None] for image in pixels])
    return pixels


def restore_maps(
    view: View, maps: Float32[np.ndarray, "batch labels height width"]
) -> Float32[np.ndarray, "batch labels height width"]:
    """Maps of a view, brought back to where the image has them.

    Where the view did not look, a map says nothing: 0.
    """
    if view is View.FLIP:
        return np.ascontiguousarray(maps[..., ::-1])
    if view is View.ZOOM and maps.size:
        flat = maps.reshape(-1, *maps.shape[2:])
        return np.stack([_scale(one, ZOOM) for one in flat]).reshape(maps.shape)
    return maps


def _scale(image: np.ndarray, step: float) -> np.ndarray:
    """About the centre: neighbours of the result lie ``step`` apart in the image."""
    height, width = image.shape
    x, y = ((1 - step) * (side - 1) / 2 for side in (width, height))
    matrix = np.array([[step, 0, x], [0, step, y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (width, height), flags=flags, borderValue=0)


@dataclass(frozen=True, slots=True)
class EnsembleMember:
    """How one member is asked.

    Attributes:
        name: of its folder under ``members/``.
        views: of each image that it sees; their probabilities are averaged.
    """

    name: str
    views: tuple[View, ...]

    def __post_init__(self) -> None:
        if View.PLAIN not in self.views or len(set(self.views)) != len(self.views):
            raise ValueError(
                f"views of member {self.name!r:.80}: expected {View.PLAIN} among them and none "
                f"twice, got {', '.join(self.views) or 'none'}"
            )


@dataclass(frozen=True, slots=True)
class EnsembleSpec:
    """What ``ensemble.json`` says.

    Attributes:
        members: every one weighs alike, however many views it has.
    """

    members: tuple[EnsembleMember, ...]

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"members: expected at least one and no name twice, got {names!r:.80}")

    @classmethod
    def from_json(cls, text: str) -> EnsembleSpec:
        """Reads ``ensemble.json``.

        Raises:
            InvalidModelError: a key missing or unknown, or a value that cannot be.
        """
        return build_record(cls, parse_json(text, where=ENSEMBLE), where=ENSEMBLE)

    def to_json(self) -> str:
        """The text of ``ensemble.json``."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"


class EnsembleRuntime:
    """The members' networks as one. ``run`` may be called from several threads at once."""

    def __init__(
        self, spec: EnsembleSpec, cards: Mapping[str, ModelCard], runtimes: Mapping[str, Runtime]
    ) -> None:
        """Joins compiled members, which were checked to fit.

        Args:
            spec: how they are asked.
            cards, runtimes: of each member, by its name.
        """
        self._spec, self._cards, self._runtimes = spec, cards, runtimes
        shapes = [runtimes[member.name].shape for member in spec.members]
        has_maps = all(card.heatmap == "cam" for card in cards.values())
        largest = max((shape.map_size for shape in shapes), key=lambda size: size[0] * size[1])
        self._shape = GraphShape(
            size=shapes[0].size,
            labels=shapes[0].labels,
            features=sum(shape.features for shape in shapes),
            map_size=largest if has_maps else (0, 0),
        )

    @property
    def shape(self) -> GraphShape:
        """The embedding is that of all members one after the other, each of the plain image."""
        return self._shape

    def run(self, pixels: UInt8[np.ndarray, "batch 1 size size"]) -> Outputs:
        """Means over the members.

        Returns:
            Logits whose softmax or sigmoid is the mean of the members' calibrated
            probabilities; maps in units of the full strength that each member's card
            states for the label, 1 where all members are at theirs.
        """
        parts = [self._ask(member, pixels) for member in self._spec.members]
        activation = next(iter(self._cards.values())).activation
        logits = _average_logits(np.stack([part.logits for part in parts]), activation)
        return Outputs(
            logits=logits.astype(np.float32),
            embedding=np.concatenate([part.embedding for part in parts], axis=1),
            maps=np.stack([part.maps for part in parts]).mean(axis=0),
        )

    def _ask(
        self, member: EnsembleMember, pixels: UInt8[np.ndarray, "batch 1 size size"]
    ) -> Outputs:
        card, runtime = self._cards[member.name], self._runtimes[member.name]
        seen = {view: runtime.run(apply_view(view, pixels)) for view in member.views}
        calibrated = [
            outputs.logits.astype(np.float64) / card.temperature for outputs in seen.values()
        ]
        scales = np.array([label.map_scale for label in card.labels], dtype=np.float32)
        maps = [
            restore_maps(view, outputs.maps) / scales[:, None, None]
            for view, outputs in seen.items()
        ]
        return Outputs(
            logits=_average_logits(np.stack(calibrated), card.activation).astype(np.float32),
            embedding=seen[View.PLAIN].embedding,
            maps=self._resize(np.stack(maps).mean(axis=0)),
        )

    def _resize(
        self, maps: Float32[np.ndarray, "batch labels height width"]
    ) -> Float32[np.ndarray, "batch labels map_height map_width"]:
        height, width = self._shape.map_size
        if maps.shape[2:] == (height, width):
            return maps
        found = np.zeros((*maps.shape[:2], height, width), dtype=np.float32)
        if not found.size:
            return found
        for image in range(maps.shape[0]):
            for label in range(maps.shape[1]):
                found[image, label] = cv2.resize(maps[image, label], (width, height))
        return found


def _average_logits(
    logits: Float64[np.ndarray, "parts batch labels"] | Float32[np.ndarray, "parts batch labels"],
    activation: Activation,
) -> Float64[np.ndarray, "batch labels"]:
    """Logits of the mean probability; computed on logarithms, where nothing rounds to 0 or 1.

    Those of a softmax have a mean of 0 over the labels. What is not finite stays so.
    """
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        if activation is Activation.SOFTMAX:
            shares = wide - np.logaddexp.reduce(wide, axis=2, keepdims=True)
            found = np.logaddexp.reduce(shares, axis=0)
            return np.asarray(found - found.mean(axis=1, keepdims=True))
        yes, no = -np.logaddexp(0, -wide), -np.logaddexp(0, wide)
        return np.asarray(np.logaddexp.reduce(yes, axis=0) - np.logaddexp.reduce(no, axis=0))


def load_ensemble(
    folder: ModelFolder,
    *,
    kind: RuntimeKind = "openvino",
    threads: int = 1,
    precision: Precision = Precision.F32,
    device: Device = Device.CPU,
) -> EnsembleRuntime:
    """Compiles every member of a verified ensemble.

    Raises:
        UsageError: int8, for which an ensemble has no graphs.
        InvalidModelError: the members are not those that ``ensemble.json`` names, or do not
            fit the card or each other.
    """
    if precision is Precision.INT8:
        raise UsageError("precision int8: expected a single model, got an ensemble")
    spec = EnsembleSpec.from_json(folder.ensemble)
    named = sorted(member.name for member in spec.members)
    if named != sorted(folder.members):
        raise InvalidModelError(
            f"{ENSEMBLE}: expected the members whose files the card lists "
            f"({', '.join(sorted(folder.members)) or 'none'}), got {', '.join(named)!s:.200}"
        )
    runtimes: dict[str, Runtime] = {}
    for name, member in folder.members.items():
        if reason := describe_mismatch(folder.card, member.card):
            raise InvalidModelError(f"member {name} ({member.identity}): {reason}")
        runtimes[name] = load_runtime(
            member.graph, kind=kind, threads=threads, precision=precision, device=device
        )
        _check_shape(name, member.card, runtimes[name].shape)
    cards = {name: member.card for name, member in folder.members.items()}
    return EnsembleRuntime(spec, cards, runtimes)


def describe_mismatch(first: ModelCard, other: ModelCard) -> str:
    """Why a model's answers cannot be averaged with those of another; empty where they can."""
    keys = [[f"{label.key} ({label.role})" for label in card.labels] for card in (first, other)]
    if keys[0] != keys[1]:
        return f"expected the labels {', '.join(keys[0])} in this order, got {', '.join(keys[1])}"
    if first.activation is not other.activation:
        return f"expected labels of a {first.activation}, got {other.activation}"
    if first.input != other.input:
        return (
            f"expected the same preprocessing, because an image is prepared once for all members: "
            f"{first.input}, got {other.input}"
        )
    return ""


def _check_shape(name: str, card: ModelCard, shape: GraphShape) -> None:
    expected = (card.input.size, len(card.labels), card.embedding_size)
    found = (shape.size, shape.labels, shape.features)
    if expected != found or (card.heatmap == "cam" and not all(shape.map_size)):
        raise InvalidModelError(
            f"member {name}: expected a graph of input size, labels and embedding size {expected} "
            f"and maps as its card says, got {found} and maps of {shape.map_size}"
        )


class EnsembleReference:
    """Training images of all members: each judges its part of the embedding by its own limit."""

    def __init__(self, parts: list[tuple[slice, Reference, float]]) -> None:
        self._parts = parts

    @classmethod
    def from_folder(cls, folder: ModelFolder) -> EnsembleReference | None:
        """Of the members whose cards have a limit; None where no card has.

        Raises:
            InvalidModelError: a member's reference does not fit its embedding.
        """
        parts, start = [], 0
        for member in EnsembleSpec.from_json(folder.ensemble).members:
            model = folder.members[member.name]
            limit, features = model.card.scope.max_distance, model.card.embedding_size
            if limit is not None:
                reference = Reference.from_arrays(model.reference)
                if reference.mean.size != features:
                    raise InvalidModelError(
                        f"member {member.name}, reference.npz: expected embeddings of {features} "
                        f"features as its card says, got {reference.mean.size}"
                    )
                parts.append((slice(start, start + features), reference, limit))
            start += features
        return cls(parts) if parts else None

    def distance(self, embedding: Float32[np.ndarray, " features"]) -> float:
        """The largest distance of any member in units of its own limit; above 1, one refuses."""
        return max(
            reference.distance(embedding[part]) / limit for part, reference, limit in self._parts
        )
