"""A model is a folder that explains itself; nothing in it is used before it is verified.

``card.json`` holds the sha256 of every other file, so the sha256 of ``card.json`` is
the checksum of the whole folder. Files that the card does not list are never opened
and do not matter; a weights file beside the card that the card does not list is
refused, because training would start from it.

An ensemble holds whole model folders under ``members/`` and says in ``ensemble.json`` how
they are asked, in the place of a graph of its own. Its card lists the files of its members,
so its checksum holds theirs.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import io
import logging
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chestx.domain import InvalidModelError, ModelCard, ModelIdentity, Precision, UsageError
from chestx.models.card import card_from_json
from chestx.models.onnx_file import MAX_ONNX_BYTES

log = logging.getLogger(__name__)

CARD = "card.json"
MODEL = "model.onnx"
INT8_MODEL = "model.int8.onnx"
REFERENCE = "reference.npz"
WEIGHTS = "model.safetensors"
ENSEMBLE = "ensemble.json"
MEMBERS = "members"
REQUIRED_FILES = (MODEL, REFERENCE, "README.md", "LICENSE")
ENSEMBLE_FILES = (ENSEMBLE, REFERENCE, "README.md", "LICENSE")
MAX_MEMBERS = 16
MODELS_VARIABLE = "CHESTX_MODELS"
"""Environment variable: model folders, or folders of them, separated as in PATH."""

_MAX_CARD_BYTES = 4 * 1024 * 1024
_MAX_REFERENCE_BYTES = 256 * 1024 * 1024
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MEMBER_FILE = re.compile(rf"{MEMBERS}/({_PLAIN_NAME.pattern})/({_PLAIN_NAME.pattern})")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, eq=False)
class ModelFolder:
    """A verified model folder.

    Attributes:
        path: where it is.
        card: what it says of itself.
        identity: name, version and checksum, for every output.
        graph: bytes of ``model.onnx``, the very ones that were verified; empty for an ensemble.
        reference: arrays of ``reference.npz``, read-only.
        int8_graph: bytes of ``model.int8.onnx``; empty without that variant.
        ensemble: text of ``ensemble.json``; empty for a single model.
        members: of an ensemble: name -> verified folder.
    """

    path: Path
    card: ModelCard
    identity: ModelIdentity
    graph: bytes
    reference: dict[str, np.ndarray]
    int8_graph: bytes = b""
    ensemble: str = ""
    members: Mapping[str, ModelFolder] = field(default_factory=dict)


def load_model_folder(path: str | os.PathLike[str]) -> ModelFolder:
    """Opens a model folder and verifies all of it.

    Every file is read once: what is used later are the bytes that were verified.

    Raises:
        InvalidModelError: it is missing, unreadable, incomplete, tampered with or too
            new; the text names the file and the reason.
    """
    folder = Path(path)
    kept = {}
    with _naming_unreadable(folder):
        card, checksum = _read_card(folder)
        _check_listing(folder, card)
        for name, sha256 in sorted(card.files.items()):
            if _MEMBER_FILE.fullmatch(name):
                continue
            data = _read_verified(folder / name, sha256)
            if name in (MODEL, INT8_MODEL, REFERENCE, ENSEMBLE):
                kept[name] = data
    return ModelFolder(
        path=folder,
        card=card,
        identity=ModelIdentity(card.name, card.version, checksum),
        graph=kept.get(MODEL, b""),
        reference=_unpack_reference(folder / REFERENCE, kept[REFERENCE]),
        int8_graph=kept.get(INT8_MODEL, b""),
        ensemble=_decode(folder / ENSEMBLE, kept.get(ENSEMBLE, b"")),
        members=_load_members(folder, card),
    )


def _load_members(folder: Path, card: ModelCard) -> dict[str, ModelFolder]:
    """The members, each by its own card; the outer card must list exactly their files."""
    listed: dict[str, dict[str, str]] = {}
    for name, sha256 in card.files.items():
        if found := _MEMBER_FILE.fullmatch(name):
            listed.setdefault(found[1], {})[found[2]] = sha256
    if len(listed) > MAX_MEMBERS:
        raise InvalidModelError(
            f"{folder / CARD}: expected at most {MAX_MEMBERS} members, got {len(listed)}"
        )
    members = {}
    for name, files in sorted(listed.items()):
        path = folder / MEMBERS / name
        with _naming_unreadable(path):
            # Before the member is loaded: what would make this endless is in its card.
            own, checksum = _read_card(path)
        if files != {**own.files, CARD: checksum}:
            raise InvalidModelError(
                f"{path}: expected the member whose files {folder / CARD} lists, got another or "
                "one that was changed; take the folder anew from where it was published"
            )
        if ENSEMBLE in own.files:
            raise InvalidModelError(f"{path}: expected a single model, got an ensemble in one")
        members[name] = load_model_folder(path)
        if members[name].identity.checksum != checksum:
            raise InvalidModelError(f"{path}: it was changed while it was read; try again")
    return members


def list_model_folders() -> list[ModelFolder]:
    """The built-in model, then those under the folders of CHESTX_MODELS, all verified.

    One that cannot be trusted is left out, with the reason in the log.
    """
    found = []
    for path in _find_model_folders():
        try:
            found.append(load_model_folder(path))
        except InvalidModelError as error:
            log.warning("a model is left out: %s", error)
    return found


def resolve_model(name_or_path: str | os.PathLike[str] | None = None) -> Path:
    """The folder of a model.

    Args:
        name_or_path: None for the built-in one; the name of a listed model (its
            folder's name or the name in its card); or a path.

    Raises:
        UsageError: no such model, or a name that several have.
    """
    if name_or_path is None:
        return _built_in_folder()
    if isinstance(name_or_path, str) and not re.search(r"[/\\]", name_or_path):
        named = [item for item in _find_model_folders() if name_or_path in _names_of(item)]
        if len(named) > 1:
            raise UsageError(
                f"model {name_or_path!r}: expected one of that name, got {len(named)}: "
                f"{', '.join(map(str, named))}; give the path of one"
            )
        if named:
            return named[0]
    if _may_be_folder(Path(name_or_path)):
        return Path(name_or_path)
    listed = ", ".join(f"{item.name} ({item})" for item in _find_model_folders())
    raise UsageError(
        f"model {os.fspath(name_or_path)!r}: expected the name of a model or a model folder, "
        f"got neither; models here: {listed}; add folders with {MODELS_VARIABLE}"
    )


def _built_in_folder() -> Path:
    return Path(str(importlib.resources.files("chestx.models") / "default"))


def _find_model_folders() -> list[Path]:
    found = [_built_in_folder()]
    for entry in filter(None, os.environ.get(MODELS_VARIABLE, "").split(os.pathsep)):
        place = Path(entry)
        candidates = [place] if _may_hold_card(place) else sorted(_subfolders(place))
        found += [item for item in candidates if _may_hold_card(item) and item not in found]
    return found


def _may_hold_card(folder: Path) -> bool:
    """A folder that cannot be looked into counts, so that opening it tells the reason."""
    try:
        return (folder / CARD).is_file()
    except OSError:
        return True


def _may_be_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return True


def _subfolders(place: Path) -> list[Path]:
    try:
        return [item for item in place.iterdir() if item.is_dir()]
    except OSError:
        # A missing entry of the variable is no reason to refuse the other models.
        return []


def _names_of(folder: Path) -> set[str]:
    try:
        with _naming_unreadable(folder):
            return {folder.name, _read_card(folder)[0].name}
    except InvalidModelError:
        return {folder.name}


@contextmanager
def _naming_unreadable(folder: Path) -> Iterator[None]:
    """Turns what the operating system says of a file into a reason for the user."""
    try:
        yield
    except OSError as error:
        raise InvalidModelError(
            f"{error.filename or folder}: expected a readable file or folder, got: {error.strerror}"
        ) from error


def _read_card(folder: Path) -> tuple[ModelCard, str]:
    """The card and its checksum."""
    if not folder.is_dir():
        raise InvalidModelError(f"model folder: expected a folder, got none at {folder}")
    path = folder / CARD
    data = _read_file(path, _MAX_CARD_BYTES)
    text = _decode(path, data)
    try:
        card = card_from_json(text)
    except InvalidModelError as error:
        raise InvalidModelError(f"{error}; in {folder}") from error
    return card, hashlib.sha256(data).hexdigest()


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidModelError(f"{path}: expected UTF-8 text, got other bytes") from error


def _check_listing(folder: Path, card: ModelCard) -> None:
    """The card lists plain names with checksums, and every file that will be opened."""
    is_ensemble = ENSEMBLE in card.files
    for name, sha256 in card.files.items():
        is_plain = _PLAIN_NAME.fullmatch(name) and name != CARD
        if not is_plain and not (is_ensemble and _MEMBER_FILE.fullmatch(name)):
            raise InvalidModelError(
                f"{folder / CARD}: expected plain file names in files, got {name!r}"
            )
        if not _SHA256.fullmatch(sha256):
            raise InvalidModelError(
                f"{folder / CARD}: expected a sha256 of 64 hexadecimal digits for {name}, "
                f"got {sha256!r:.80}"
            )
    if is_ensemble and MODEL in card.files:
        raise InvalidModelError(
            f"{folder / CARD}: expected {MODEL} or {ENSEMBLE} in files, got both"
        )
    for name in ENSEMBLE_FILES if is_ensemble else REQUIRED_FILES:
        if name not in card.files:
            raise InvalidModelError(f"{folder / CARD}: expected {name} in files, it is not listed")
    int8 = card.find_precision(Precision.INT8)
    if (int8 is not None and int8.kept) != (INT8_MODEL in card.files):
        raise InvalidModelError(
            f"{folder / CARD}: expected {INT8_MODEL} in files where int8 is kept, and only there"
        )
    if WEIGHTS not in card.files and (folder / WEIGHTS).exists():
        raise InvalidModelError(
            f"{folder}: {WEIGHTS} is there but the card does not list it; remove it or take the "
            "folder anew from where it was published"
        )


def _read_verified(path: Path, sha256: str) -> bytes:
    if not path.is_file():
        raise InvalidModelError(
            f"{path}: expected the file that the card lists, it is missing; take the folder anew "
            "from where it was published"
        )
    limits = {REFERENCE: _MAX_REFERENCE_BYTES, ENSEMBLE: _MAX_CARD_BYTES}
    data = _read_file(path, limits.get(path.name, MAX_ONNX_BYTES))
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise InvalidModelError(
            f"{path}: expected the sha256 {sha256[:12]}... that the card lists, got "
            f"{found[:12]}...: the file was changed or damaged; take the folder anew from where "
            "it was published"
        )
    return data


def _unpack_reference(path: Path, data: bytes) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
        reference = _load_arrays(data) if unpacked <= _MAX_REFERENCE_BYTES else {}
    except Exception as error:  # zipfile, its codecs and numpy raise a dozen unrelated types.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidModelError(
            f"{path}: expected an npz of plain arrays, got a file that is not ({reason:.200})"
        ) from error
    if unpacked > _MAX_REFERENCE_BYTES:
        raise InvalidModelError(
            f"{path}: expected at most {_MAX_REFERENCE_BYTES} bytes unpacked, got {unpacked}"
        )
    return reference


def _load_arrays(data: bytes) -> dict[str, np.ndarray]:
    reference: dict[str, np.ndarray] = {}
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        for name in arrays.files:
            array = arrays[name]
            # numpy gives the bytes of a member that holds no array.
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                raise ValueError(f"{name!r:.80} holds no numbers")
            array.flags.writeable = False
            reference[name] = array
    return reference


def _read_file(path: Path, limit: int) -> bytes:
    # Before it is opened, because opening a pipe waits for a writer.
    if not path.is_file():
        raise InvalidModelError(f"{path}: expected a file, it is missing")
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise InvalidModelError(f"{path}: expected at most {limit} bytes, got {size}")
        return stream.read(size)
