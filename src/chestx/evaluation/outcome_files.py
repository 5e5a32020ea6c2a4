"""Outcomes in a file, so that figures can be made again without running the model again.

An npz of plain arrays: nothing in it is unpickled. All texts are one JSON document, stored as its
bytes, which a fixed width for each text would make many times larger.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from chestx.datasets.example import Box, Task
from chestx.domain import ChestxError, Decision, InvalidModelError, ModelIdentity, UsageError
from chestx.evaluation.outcomes import THUMBNAIL_SIDE, Outcomes
from chestx.files import write_whole
from chestx.models.card import card_from_json, card_to_json
from chestx.models.records import build_record, parse_json

FORMAT_VERSION = 1
"""Layout of the file that this version reads and writes."""

MAX_BYTES = 8 * 1024**3
"""Of the arrays unpacked: a million images with embeddings of 2,048 features."""

MAX_TEXT_BYTES = 1024**3

MAX_WORD = 200
"""Characters of a text that may stand in a title."""

_ARRAYS = ("targets", "logits", "probabilities", "embeddings", "groups", "image_sizes")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    format_version: int
    card: str
    identity: ModelIdentity
    task: Task
    paths: tuple[str, ...]
    decisions: tuple[Decision, ...]
    reasons: tuple[tuple[str, ...], ...]
    attributes: dict[str, tuple[str, ...]]
    boxes: tuple[tuple[Box, ...], ...]
    formats: tuple[str, ...]
    left_out: dict[str, int]
    notes: tuple[str, ...]


def save_outcomes(outcomes: Outcomes, path: str | os.PathLike[str]) -> None:
    """Writes outcomes whole or not at all; an older file of that name is replaced.

    It holds paths and attributes of the images as the manifest has them, but no pixels beyond
    16 x 16: keep it where the manifest may be kept.

    Raises:
        UsageError: the file cannot be written.
    """
    texts = _Texts(
        format_version=FORMAT_VERSION,
        card=card_to_json(outcomes.card),
        identity=outcomes.identity,
        task=outcomes.task,
        paths=outcomes.paths,
        decisions=outcomes.decisions,
        reasons=outcomes.reasons,
        attributes=dict(outcomes.attributes),
        boxes=outcomes.boxes,
        formats=outcomes.formats,
        left_out=dict(outcomes.left_out),
        notes=outcomes.notes,
    )
    document = json.dumps(dataclasses.asdict(texts), allow_nan=False).encode()
    arrays = {name: getattr(outcomes, name) for name in (*_ARRAYS, "thumbnails")}
    target = Path(path)
    try:
        with write_whole(target) as file:
            np.savez_compressed(file, texts=np.frombuffer(document, dtype=np.uint8), **arrays)
    except OSError as error:
        raise UsageError(
            f"outcomes: expected to write {target}, got: {error.strerror or error}"
        ) from error


def load_outcomes(path: str | os.PathLike[str]) -> Outcomes:
    """Reads what :func:`save_outcomes` wrote; the card is in it.

    Raises:
        UsageError: no such file, or not one of outcomes, or of a newer version.
    """
    try:
        arrays = _read_arrays(Path(path))
        texts = build_record(_Texts, _parse_texts(arrays.pop("texts")), where="texts")
        return _join(texts, arrays)
    except OSError as error:
        raise UsageError(
            f"outcomes: expected a file at {path}, got: {error.strerror or error}"
        ) from error
    except InvalidModelError as error:
        raise UsageError(f"outcomes: {error}; in {path}") from error


def _refuse(expected: str, got: object) -> InvalidModelError:
    return InvalidModelError(f"expected {expected}, got {got}; make the outcomes again")


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    # Before it is opened, because opening a pipe waits for a writer.
    if not path.is_file():
        raise _refuse("a file", "none")
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                sizes = {item.filename: item.file_size for item in archive.infolist()}
            _check_sizes(sizes)
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                return {name: stored[name] for name in ("texts", *_ARRAYS, "thumbnails")}
        except (ChestxError, MemoryError):
            raise
        except Exception as error:  # zipfile, its codecs and numpy raise a dozen types.
            raise _refuse("an npz of plain arrays", f"{type(error).__name__}") from error


def _check_sizes(sizes: dict[str, int]) -> None:
    if sum(sizes.values()) > MAX_BYTES:
        raise _refuse(f"at most {MAX_BYTES} bytes unpacked", sum(sizes.values()))
    if sizes.get("texts.npy", 0) > MAX_TEXT_BYTES:
        raise _refuse(f"at most {MAX_TEXT_BYTES} bytes of text", sizes["texts.npy"])


def _parse_texts(array: object) -> object:
    if not (isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 1):
        raise _refuse("texts as bytes", "another array")
    try:
        text = array.tobytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refuse("texts in UTF-8", "other bytes") from error
    document = parse_json(text, where="texts")
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise _refuse(f"format {FORMAT_VERSION}", f"{version!r:.20}")
    return document


def _join(texts: _Texts, arrays: dict[str, np.ndarray]) -> Outcomes:
    card = card_from_json(texts.card)
    images, labels = len(texts.paths), len(card.labels)
    features = arrays["embeddings"].shape[-1] if arrays["embeddings"].ndim else 0
    expected = {
        "targets": ((images, labels), "int8"),
        "logits": ((images, labels), "float32"),
        "probabilities": ((images, labels), "float32"),
        "embeddings": ((images, features), "float32"),
        "groups": ((images,), "int64"),
        "image_sizes": ((images, 2), "int64"),
        "thumbnails": ((images, THUMBNAIL_SIDE, THUMBNAIL_SIDE), "uint8"),
    }
    for name, (shape, kind) in expected.items():
        array = arrays[name]
        if not (isinstance(array, np.ndarray) and array.shape == shape and array.dtype == kind):
            raise _refuse(
                f"{name} of {kind} {[*shape]}",
                f"{getattr(array, 'dtype', 'none')} {[*getattr(array, 'shape', ())]}",
            )
    _check_lengths(texts, images)
    _check_words(texts)
    _check_numbers(texts, arrays)
    return Outcomes(
        card=card,
        identity=texts.identity,
        task=texts.task,
        paths=texts.paths,
        decisions=texts.decisions,
        reasons=texts.reasons,
        targets=arrays["targets"],
        logits=arrays["logits"],
        probabilities=arrays["probabilities"],
        embeddings=arrays["embeddings"],
        groups=arrays["groups"],
        attributes=texts.attributes,
        boxes=texts.boxes,
        image_sizes=arrays["image_sizes"],
        formats=texts.formats,
        thumbnails=arrays["thumbnails"],
        left_out=texts.left_out,
        notes=texts.notes,
    )


def _check_lengths(texts: _Texts, images: int) -> None:
    columns = {
        "decisions": texts.decisions,
        "reasons": texts.reasons,
        "boxes": texts.boxes,
        "formats": texts.formats,
        **texts.attributes,
    }
    for name, column in columns.items():
        if len(column) != images:
            raise _refuse(f"{name:.80} of {images} images", len(column))


def _check_words(texts: _Texts) -> None:
    """Attributes and the model's name become titles: lines that a person can read."""
    words = [texts.identity.name, texts.identity.version, texts.identity.checksum]
    words += [texts.identity.precision, *texts.attributes, *texts.left_out]
    for word in chain(words, *texts.attributes.values()):
        if not word.isprintable() or len(word) > MAX_WORD:
            raise _refuse(f"at most {MAX_WORD} printable characters", f"{word!r:.80}")


def _check_numbers(texts: _Texts, arrays: dict[str, np.ndarray]) -> None:
    """A failed image has no probabilities, every other one has some between 0 and 1."""
    has_failed = np.array([decision is Decision.FAILED for decision in texts.decisions], bool)
    probabilities = arrays["probabilities"]
    known = probabilities[~has_failed]
    if not (((known >= 0) & (known <= 1)).all() and np.isnan(probabilities[has_failed]).all()):
        raise _refuse("probabilities of 0 to 1, and none where the image failed", "others")
    if not np.isin(arrays["targets"], (1, 0, -1, -2)).all():
        raise _refuse("targets of 1, 0, -1 or -2", "others")
