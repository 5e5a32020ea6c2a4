"""Which images a model answers for: what the file says, what the pixels say, what is familiar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chestx.domain import ImageHeader, InvalidModelError, ModelCard, Quality, ScopeReason
from chestx.shapes import Float32

COMPONENTS = 256
"""Principal directions of the training embeddings that the distance looks at one by one."""

LATERAL_VIEWS = frozenset({"LL", "RL", "LLAT", "RLAT", "LAT", "LATERAL", "L"})
"""DICOM ViewPosition values, and usual private ones, of a radiograph from the side."""

REFERENCE_ARRAYS = frozenset({"mean", "directions", "scales", "residual_scale"})
"""Names of the arrays that ``fit_reference`` gives."""

_TERM = re.compile(r"[A-Z0-9_]{1,16}")
_MONTHS_BELOW_YEARS = 2


def fit_reference(
    embeddings: Float32[np.ndarray, "images features"], *, components: int = COMPONENTS
) -> dict[str, np.ndarray]:
    """The arrays that ``Reference`` measures distances with.

    Embeddings are brought to unit length first: their length says how strong an image's
    features are, their direction which ones it has, and only the direction told foreign
    images apart on the validation data.

    Args:
        embeddings: of the images that the model was trained on, one a row.
        components: principal directions to keep, at most min(images, features) - 1.

    Returns:
        ``mean [features]``, ``directions [components, features]`` of unit length,
        ``scales [components]`` (standard deviation along each) and
        ``residual_scale []`` (root mean square length of what the directions leave
        over), all float32.

    Raises:
        ValueError: too few images for so many components, values that are not finite, or
            an embedding of zeros.
    """
    images, features = embeddings.shape
    if not 1 <= components < min(images, features):
        raise ValueError(
            f"components: expected 1 to {min(images, features) - 1} for {images} embeddings "
            f"of {features} features, got {components}"
        )
    if not np.isfinite(embeddings).all():
        raise ValueError("embeddings: expected finite values, got NaN or infinity")
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError("embeddings: expected none of length zero, got one")
    directed = (embeddings / lengths).astype(np.float64)
    mean = directed.mean(axis=0)
    centred = directed - mean
    variances, vectors = np.linalg.eigh(centred.T @ centred / images)
    kept = slice(-components, None)
    residual_variance = variances[:-components].sum()
    return {
        "mean": mean.astype(np.float32),
        "directions": np.ascontiguousarray(vectors[:, kept].T, dtype=np.float32),
        "scales": np.sqrt(np.maximum(variances[kept], 1e-12)).astype(np.float32),
        "residual_scale": np.float32(np.sqrt(max(residual_variance, 1e-12))).reshape(()),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The training images as the model saw them, summed up for a distance.

    Attributes:
        mean: of the training embeddings.
        directions: principal directions, of unit length.
        scales: standard deviation of the training embeddings along each direction.
        residual_scale: root mean square length of what the directions leave over.
    """

    mean: Float32[np.ndarray, " features"]
    directions: Float32[np.ndarray, "components features"]
    scales: Float32[np.ndarray, " components"]
    residual_scale: float

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Reference:
        """From the arrays of ``fit_reference``, e.g. an open ``reference.npz``.

        Raises:
            InvalidModelError: an array is missing, of another type or of a shape that does
                not fit the others, or holds numbers that cannot be.
        """
        names = ("mean", "directions", "scales", "residual_scale")
        missing = [name for name in names if name not in arrays]
        if missing:
            raise InvalidModelError(
                f"reference: expected the arrays {', '.join(names)}, "
                f"got none named {', '.join(missing)}; fit the reference again"
            )
        mean, directions, scales, residual = (arrays[name] for name in names)
        for name in names:
            if arrays[name].dtype != np.float32 or not np.isfinite(arrays[name]).all():
                raise InvalidModelError(
                    f"reference: expected {name} of finite float32 numbers, got others "
                    f"({arrays[name].dtype}); fit the reference again"
                )
        expected = (scales.size, mean.size)
        shapes = [array.shape for array in (mean, scales, residual, directions)]
        if shapes != [(mean.size,), (scales.size,), (), expected] or 0 in expected:
            raise InvalidModelError(
                f"reference: expected directions of shape {expected} for mean and scales of one "
                f"dimension, and one residual_scale, got shapes {shapes[3]}, {shapes[0]}, "
                f"{shapes[1]} and {shapes[2]}; fit the reference again"
            )
        if not ((scales > 0).all() and residual > 0):
            raise InvalidModelError(
                "reference: expected positive scales, got others; fit the reference again"
            )
        return cls(mean, directions, scales, float(residual))

    def distance(self, embedding: Float32[np.ndarray, " features"]) -> float:
        """How unlike the training images an embedding is.

        Of the embedding at unit length: root mean square of its offset in standard
        deviations along the directions, and of the length of the rest in units of the
        usual one; about 1 for an image like those of training.

        Source: Mahalanobis distance in a principal subspace plus residual,
        Wang et al., ViM, CVPR 2022 (the residual), Lee et al., NeurIPS 2018.
        """
        length = np.linalg.norm(embedding)
        offset = embedding / max(float(length), 1e-12) - self.mean
        along = self.directions @ offset
        rest = max(float(offset @ offset) - float(along @ along), 0.0)
        deviations = along / self.scales
        within = float(deviations @ deviations) / len(self.scales)
        return float(np.sqrt((within + rest / self.residual_scale**2) / 2))


def assess_scope(
    card: ModelCard, header: ImageHeader, quality: Quality, *, distance: float | None
) -> tuple[tuple[ScopeReason, ...], tuple[str, ...]]:
    """Whether the model answers for an image.

    Args:
        card: of the model; its scope says what is accepted.
        header: what the file says of itself; a value that it does not state is not held
            against it.
        quality: what the pixels say.
        distance: of the embedding to the training images; None where the model has no
            reference.

    Returns:
        Reasons why the image is out of scope (none: in scope), those of quality first,
        and flags.
    """
    scope = card.scope
    reasons = [
        *quality.reasons,
        *_judge_value("modality", "Modality", header.modality, scope.modalities),
        *_judge_value("body_part", "BodyPartExamined", header.body_part_examined, scope.body_parts),
        *_judge_view(header, scope.views),
        *_judge_age(header.age_years, scope.min_age_years, scope.max_age_years),
        *_judge_distance(distance, scope.max_distance),
    ]
    flags = list(quality.flags)
    if header.age_years is None:
        flags.append("age_unknown")
    return tuple(reasons), tuple(flags)


def _split_words(value: str) -> set[str]:
    """``"port. chest"`` -> PORT and CHEST: hospitals write more than the defined terms."""
    return set(re.findall(r"[A-Z0-9]+", value.upper()))


def _quote(value: str) -> str:
    """A value as it may stand in our sentence: a defined term, or visibly somebody else's words.

    A file must not speak to the reader through us. Sixteen characters is the longest code string.
    """
    stated = " ".join(value.upper().split())
    if _TERM.fullmatch(stated):
        return stated
    return f"'{stated[:16]}'" if len(stated) <= 16 else f"'{stated[:16]}...'"


def _judge_value(
    code: str, keyword: str, value: str, accepted: tuple[str, ...]
) -> list[ScopeReason]:
    words = _split_words(value)
    if not words or not accepted or words & {term.upper() for term in accepted}:
        return []
    sentence = f"DICOM {keyword} is {_quote(value)}; the model answers for {', '.join(accepted)}."
    return [ScopeReason(code, sentence)]


def _judge_view(header: ImageHeader, accepted: tuple[str, ...]) -> list[ScopeReason]:
    """A lateral view is refused whatever else is said, e.g. ``LAT PA`` or a part ``CHEST LAT``."""
    places = (
        ("ViewPosition", header.view_position, LATERAL_VIEWS),
        # A lone L says there which side of the body, not from where.
        ("BodyPartExamined", header.body_part_examined, LATERAL_VIEWS - {"L"}),
    )
    for keyword, value, lateral in places:
        if accepted and _split_words(value) & lateral:
            sentence = (
                f"DICOM {keyword} is {_quote(value)}, a lateral view; "
                f"the model answers for {', '.join(accepted)}."
            )
            return [ScopeReason("lateral", sentence)]
    return _judge_value("view", "ViewPosition", header.view_position, accepted)


def _judge_age(
    age: float | None, youngest: float | None, oldest: float | None
) -> list[ScopeReason]:
    if age is None:
        return []
    if youngest is not None and age < youngest:
        return [
            ScopeReason(
                "age",
                f"The patient is {_say_age(age)} old; the model answers from {_say_age(youngest)}.",
            )
        ]
    if oldest is not None and age > oldest:
        return [
            ScopeReason(
                "age",
                f"The patient is {_say_age(age)} old; the model answers up to {_say_age(oldest)}.",
            )
        ]
    return []


def _say_age(years: float) -> str:
    """Completed months of the youngest, as they are counted for infants."""
    if years >= _MONTHS_BELOW_YEARS:
        return f"{years:g} years"
    # A twelfth of a year has no exact float.
    months = int(years * 12 + 1e-6)
    return "less than 1 month" if not months else f"{months} month{'s' if months > 1 else ''}"


def _judge_distance(distance: float | None, limit: float | None) -> list[ScopeReason]:
    if distance is None or limit is None or distance <= limit:  # NaN is over every limit
        return []
    sentence = (
        f"The image is unlike those the model learnt from: distance {distance:.2f}, "
        f"accepted up to {limit:.2f}."
    )
    return [ScopeReason("unlike_training", sentence)]
