"""From model input to calibrated answers."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from chestx.domain import (
    ANY_FINDING,
    Activation,
    ChestxError,
    Finding,
    InvalidModelError,
    ModelCard,
    ModelIdentity,
    Precision,
    Prediction,
    UsageError,
)
from chestx.images.cores import count_usable_cores
from chestx.models.devices import Device
from chestx.models.ensemble import EnsembleReference, load_ensemble
from chestx.models.folder import INT8_MODEL, ModelFolder, load_model_folder, resolve_model
from chestx.models.precision import check_kept, parse_precision
from chestx.models.runtime import Runtime, RuntimeKind, load_runtime
from chestx.models.scope import REFERENCE_ARRAYS, Reference
from chestx.models.site import (
    SiteProfile,
    apply_site_profile,
    identify_with_profile,
    load_site_profile,
)
from chestx.shapes import Float32, UInt8

KNOWN_PIXELS, KNOWN_LOGITS = "known_pixels", "known_logits"
"""Arrays of ``reference.npz``: images without a patient and the logits they gave when published."""

_KNOWN_TOLERANCE = 1e-3
_MAX_KNOWN = 64


class Classifier:
    """A verified model folder with a runtime. Its methods may be called from several threads."""

    def __init__(
        self,
        folder: ModelFolder,
        runtime: Runtime,
        *,
        site_profile: SiteProfile | None = None,
        precision: Precision = Precision.F32,
    ) -> None:
        """Joins a folder and the runtime of its graph.

        Args:
            folder: verified.
            runtime: of its graph.
            site_profile: temperature and thresholds of the place where it speaks.
            precision: in which the runtime computes.

        Raises:
            InvalidModelError: the graph or the reference is not the one that the card describes.
            UsageError: the site profile belongs to another model.
        """
        _check_graph(folder.card, runtime)
        self.folder = folder
        self.site_profile = site_profile
        self._card = folder.card
        self._identity = replace(folder.identity, precision=precision.value)
        if site_profile is not None:
            self._identity = identify_with_profile(self._identity, site_profile)
            self._card = apply_site_profile(folder.card, site_profile)
        self._reference = _read_reference(folder, runtime)
        self._runtime = runtime

    @classmethod
    def load(
        cls,
        path_or_name: str | os.PathLike[str] | None = None,
        *,
        runtime: RuntimeKind = "openvino",
        threads: int | None = None,
        site_profile: str | os.PathLike[str] | None = None,
        precision: str = Precision.F32,
        device: Device = Device.CPU,
    ) -> Classifier:
        """Finds, verifies and compiles a model.

        Args:
            path_or_name: a model folder or the name of a listed model; None for the
                built-in one.
            runtime: library that computes.
            threads: how many calls of ``predict`` may compute at once; None for one a core.
            site_profile: file that ``chestx commission`` wrote; None for the card's own
                temperature and thresholds.
            precision: ``f32``, or a variant that the card keeps.
            device: where onnxruntime computes.

        Raises:
            InvalidModelError: the folder, its graph or the profile cannot be trusted.
            UsageError: no such model or runtime, a profile of another model or precision, or
                a precision that the card does not keep.
            ChestxError: this processor cannot compute in that precision.
        """
        chosen = parse_precision(precision)
        profile = None if site_profile is None else load_site_profile(site_profile)
        folder = load_model_folder(resolve_model(path_or_name))
        check_kept(folder.card, chosen)
        network = load_network(
            folder,
            kind=runtime,
            threads=count_usable_cores() if threads is None else threads,
            precision=chosen,
            device=device,
        )
        return cls(folder, network, site_profile=profile, precision=chosen)

    @property
    def card(self) -> ModelCard:
        """What the model says of itself, with the site's temperature and thresholds if any."""
        return self._card

    @property
    def identity(self) -> ModelIdentity:
        """Who speaks, and with which site profile."""
        return self._identity

    def predict(self, pixels: UInt8[np.ndarray, "batch size size"]) -> list[Prediction]:
        """One prediction an image of a preprocessed batch, in its order.

        Raises:
            ChestxError: the model gave a number that is not finite.
        """
        outputs = self._runtime.run(pixels[:, None])
        probabilities = apply_temperature(outputs.logits, self.card)
        return [
            Prediction(*row)
            for row in zip(
                outputs.logits, probabilities, outputs.embedding, outputs.maps, strict=True
            )
        ]

    def measure_distance(self, embedding: Float32[np.ndarray, " features"]) -> float | None:
        """How unlike the training images an image is; the card's scope has the limit.

        None where nothing is known of them.
        """
        return None if self._reference is None else self._reference.distance(embedding)

    @property
    def _allowed_gap(self) -> float:
        """Of the known logits beyond the tolerance: none for f32."""
        variant = self._card.find_precision(Precision(self._identity.precision))
        return 0.0 if variant is None else 2 * variant.known_gap

    def check(self) -> None:
        """Runs the images whose answers the folder holds, and compares.

        A file may be whole and its numbers still wrong: another processor, library or
        setting computes them.

        Raises:
            InvalidModelError: the folder holds none, or some of another form, or the
                logits differ by more than 0.001; those of a variant by more than that and
                twice as far as where it was compared with f32.
        """
        reference = self.folder.reference
        if missing := {KNOWN_PIXELS, KNOWN_LOGITS} - reference.keys():
            raise InvalidModelError(
                f"reference.npz: expected {' and '.join(sorted(missing))} to check the network "
                "with, it has none"
            )
        pixels, logits = reference[KNOWN_PIXELS], reference[KNOWN_LOGITS]
        _check_known(pixels, logits, self._runtime)
        gap = float(np.abs(self._runtime.run(pixels[:, None]).logits - logits).max())
        # Written so that a gap that is not a number fails too.
        if not gap <= _KNOWN_TOLERANCE + self._allowed_gap:
            raise InvalidModelError(
                f"model.onnx: expected the logits that it gave when it was published, got some "
                f"that differ by {gap:.3g}; do not use it on this machine"
            )


def load_network(
    folder: ModelFolder,
    *,
    kind: RuntimeKind = "openvino",
    threads: int = 1,
    precision: Precision = Precision.F32,
    device: Device = Device.CPU,
) -> Runtime:
    """Compiles what a verified folder holds, whatever its card says of the precision.

    Raises:
        UsageError: the folder has no graph of that precision, or as of :func:`load_runtime`.
    """
    if folder.ensemble:
        return load_ensemble(folder, kind=kind, threads=threads, precision=precision, device=device)
    graph = folder.int8_graph if precision is Precision.INT8 else folder.graph
    if not graph:
        raise UsageError(f"{folder.identity}: expected {INT8_MODEL} for int8, it has none")
    return load_runtime(graph, kind=kind, threads=threads, precision=precision, device=device)


def load_model(
    path_or_name: str | os.PathLike[str] | None = None,
    *,
    runtime: RuntimeKind = "openvino",
    threads: int | None = None,
    site_profile: str | os.PathLike[str] | None = None,
    precision: str = Precision.F32,
) -> Classifier:
    """A model that is ready to run; see :meth:`Classifier.load`."""
    return Classifier.load(
        path_or_name,
        runtime=runtime,
        threads=threads,
        site_profile=site_profile,
        precision=precision,
    )


def apply_temperature(
    logits: Float32[np.ndarray, "batch labels"], card: ModelCard
) -> Float32[np.ndarray, "batch labels"]:
    """Calibrated probabilities, computed in double precision and safe from overflow.

    Raises:
        ChestxError: a logit is not finite, which no image should cause.
    """
    if not np.isfinite(logits).all():
        raise ChestxError(
            f"expected finite logits, the model gave infinite or undefined ones; check "
            f"{card.name} {card.version} with `chestx model verify`"
        )
    scaled = logits.astype(np.float64) / card.temperature
    if card.activation is Activation.SOFTMAX:
        scaled -= scaled.max(axis=1, keepdims=True)
        powers = np.exp(scaled)
        probabilities = powers / powers.sum(axis=1, keepdims=True)
    else:
        # Both forms of the sigmoid, each where it cannot overflow.
        tail = np.exp(-np.abs(scaled))
        probabilities = np.where(scaled >= 0, 1.0, tail) / (1.0 + tail)
    return np.asarray(probabilities, dtype=np.float32)


def to_findings(
    card: ModelCard, probabilities: Float32[np.ndarray, " labels"]
) -> tuple[tuple[Finding, ...], Finding | None]:
    """The finding of each label that is one, and the composite 1 - P(no finding).

    The composite is None where the card has no ``no_finding`` label.
    """
    findings = []
    composite = None
    for label, value in zip(card.labels, probabilities, strict=True):
        probability = float(value)
        if label.operating_point is not None:
            decision = label.operating_point.decide(probability)
            findings.append(
                Finding(
                    label.key,
                    label.display,
                    probability,
                    decision,
                    label.operating_point,
                    label.caveat,
                )
            )
        elif card.any_finding is not None:
            any_probability = 1.0 - probability
            composite = Finding(
                ANY_FINDING,
                f"any finding ({_join_displays(card)})",
                any_probability,
                card.any_finding.decide(any_probability),
                card.any_finding,
            )
    return tuple(findings), composite


def _join_displays(card: ModelCard) -> str:
    *first, last = [label.display for label in card.findings]
    return f"{', '.join(first)} or {last}" if first else last


def _read_reference(folder: ModelFolder, runtime: Runtime) -> Reference | EnsembleReference | None:
    """None for a model whose card checks no distance, and which knows no images."""
    if folder.ensemble:
        return EnsembleReference.from_folder(folder)
    if folder.card.scope.max_distance is None and not REFERENCE_ARRAYS & folder.reference.keys():
        return None
    reference = Reference.from_arrays(folder.reference)
    if reference.mean.size != runtime.shape.features:
        raise InvalidModelError(
            f"reference.npz: expected embeddings of {runtime.shape.features} features as the "
            f"graph gives, got {reference.mean.size}"
        )
    return reference


def _check_graph(card: ModelCard, runtime: Runtime) -> None:
    shape = runtime.shape
    if card.heatmap == "cam" and not all(shape.map_size):
        raise InvalidModelError(
            "model.onnx: expected class activation maps (cams) as the card says, it makes none"
        )
    pairs = (
        ("input size", card.input.size, shape.size),
        ("labels", len(card.labels), shape.labels),
        ("embedding size", card.embedding_size, shape.features),
    )
    for name, expected, found in pairs:
        if expected != found:
            raise InvalidModelError(
                f"model.onnx: expected {name} {expected} as the card says, got {found}"
            )


def _check_known(pixels: np.ndarray, logits: np.ndarray, runtime: Runtime) -> None:
    size, labels = runtime.shape.size, runtime.shape.labels
    count = len(logits) if logits.ndim else 0
    fits = (
        1 <= count <= _MAX_KNOWN
        and pixels.dtype == np.uint8
        and pixels.shape == (count, size, size)
        and logits.dtype == np.float32
        and logits.shape == (count, labels)
    )
    if not fits:
        raise InvalidModelError(
            f"reference.npz: expected {KNOWN_PIXELS} of uint8 [images, {size}, {size}] and "
            f"{KNOWN_LOGITS} of float32 [images, {labels}] for 1 to {_MAX_KNOWN} images, "
            f"got {pixels.dtype} {[*pixels.shape]} and {logits.dtype} {[*logits.shape]}"
        )
