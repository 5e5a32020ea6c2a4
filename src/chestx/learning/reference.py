"""What ``reference.npz`` of a model folder holds: features, known answers, drift."""

from __future__ import annotations

import numpy as np

from chestx.domain import ChestxError
from chestx.learning.dataset import LabelledImages
from chestx.models.classifier import KNOWN_LOGITS, KNOWN_PIXELS
from chestx.models.runtime import Runtime
from chestx.models.scope import COMPONENTS, fit_reference
from chestx.shapes import Float, Float32, UInt8


def fit_arrays(runtime: Runtime, images: LabelledImages, *, size: int) -> dict[str, np.ndarray]:
    """What ``reference.npz`` holds of the training images, and the known answers."""
    embedding = np.concatenate(
        [
            runtime.run(np.asarray(images.pixels[start : start + 64])[:, None]).embedding
            for start in range(0, len(images), 64)
        ]
    )
    if not np.abs(embedding).max(axis=1).all():
        raise ChestxError(
            "the network gives no features for some of its training images: it has learnt nothing; "
            "train it longer, or with a smaller learning_rate"
        )
    components = min(COMPONENTS, min(embedding.shape) - 1)
    return {**fit_reference(embedding, components=components), **make_known_answer(runtime, size)}


def make_known_answer(runtime: Runtime, size: int) -> dict[str, np.ndarray]:
    """Images that no patient is in, and the logits they give, to check a machine with."""
    rows, columns = np.mgrid[0:size, 0:size]
    ramp = (rows + columns) * 255 // (2 * size - 2)
    waves = 128 + 100 * np.sin(rows / 9.0) * np.cos(columns / 13.0)
    pixels: UInt8[np.ndarray, "images size size"] = np.stack([ramp, waves]).astype(np.uint8)
    return {KNOWN_PIXELS: pixels, KNOWN_LOGITS: runtime.run(pixels[:, None]).logits}


def summarise_for_drift(
    probabilities: Float32[np.ndarray, "images labels"],
    embeddings: Float32[np.ndarray, "images features"],
    greys: Float[np.ndarray, " inputs"],
) -> dict[str, np.ndarray]:
    """How validation images look to the model: bins are of equal width, ends included."""
    return {
        "drift_embedding_mean": embeddings.mean(axis=0),
        "drift_embedding_std": embeddings.std(axis=0),
        "drift_grey_histogram": np.histogram(greys, bins=32, range=(0, 255))[0],
        "drift_probability_histogram": np.stack(
            [np.histogram(column, bins=20, range=(0, 1))[0] for column in probabilities.T]
        ),
    }
