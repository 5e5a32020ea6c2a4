"""A model folder is verified whole before anything in it is used."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chestx.domain import InvalidModelError, UsageError
from chestx.models.folder import list_model_folders, load_model_folder, resolve_model

WriteFolder = Callable[..., Path]


def test_a_whole_folder_is_loaded(write_folder: WriteFolder) -> None:
    path = write_folder()
    folder = load_model_folder(path)
    assert folder.path == path
    assert folder.identity.name == "try-out"
    assert folder.identity.version == "2.1"
    assert folder.identity.checksum == hashlib.sha256((path / "card.json").read_bytes()).hexdigest()
    assert folder.reference["mean"].shape == (4,)
    assert not folder.reference["mean"].flags.writeable
    assert folder.graph == b"graph"


def test_the_folder_that_the_package_carries_is_whole(default_folder: Path) -> None:
    folder = load_model_folder(default_folder)
    assert folder.identity.name == "chestx-default"
    assert set(folder.card.files) == {
        path.name for path in default_folder.iterdir() if path.name != "card.json"
    }
    assert "Research use only" in (default_folder / "LICENSE").read_text(encoding="utf-8")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"expected a folder, got none at .*nowhere"):
        load_model_folder(tmp_path / "nowhere")


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"card\.json: expected a file, it is missing"):
        load_model_folder(tmp_path)


def test_a_card_of_other_bytes_is_refused(write_folder: WriteFolder) -> None:
    path = write_folder()
    (path / "card.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidModelError, match="expected UTF-8 text, got other bytes"):
        load_model_folder(path)


def test_a_huge_card_is_refused_unread(write_folder: WriteFolder) -> None:
    path = write_folder()
    with (path / "card.json").open("wb") as stream:
        stream.truncate(5 * 1024 * 1024)
    with pytest.raises(InvalidModelError, match="expected at most 4194304 bytes, got 5242880"):
        load_model_folder(path)


def test_a_graph_that_is_swapped_after_the_check_does_not_run(write_folder: WriteFolder) -> None:
    path = write_folder()
    folder = load_model_folder(path)
    (path / "model.onnx").write_bytes(b"another")
    assert folder.graph == b"graph"
    assert hashlib.sha256(folder.graph).hexdigest() == folder.card.files["model.onnx"]


def _forbid(monkeypatch: pytest.MonkeyPatch, call: str, forbidden: Path) -> None:
    """Lets a file or folder answer as one without permission does, even to root."""
    real = getattr(Path, call)

    def answer(path: Path, *arguments: object, **options: object) -> object:
        if path == forbidden:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, call, answer)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("open", "card.json"),
        ("is_file", "card.json"),
        ("open", "model.onnx"),
        ("is_file", "model.onnx"),
        ("open", "reference.npz"),
        ("open", "LICENSE"),
        ("exists", "model.safetensors"),
        ("is_dir", ""),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_and_hides_no_other_model(
    write_folder: WriteFolder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    call: str,
    name: str,
) -> None:
    path, other = write_folder("closed"), write_folder("open", named="other")
    _forbid(monkeypatch, call, path / name)
    reason = f"{path / name}: expected a readable file or folder, got: Permission denied"
    with pytest.raises(InvalidModelError, match=re.escape(reason)):
        load_model_folder(path)
    assert resolve_model(path) == path
    monkeypatch.setenv("CHESTX_MODELS", f"{path}{os.pathsep}{other}")
    with caplog.at_level(logging.WARNING):
        found = [folder.path for folder in list_model_folders()]
    assert found == [resolve_model(), other]
    assert reason in caplog.text
    assert resolve_model("other") == other


@pytest.mark.parametrize("name", ["card.json", "model.onnx", "reference.npz", "LICENSE"])
def test_a_folder_in_the_place_of_a_file_is_refused(write_folder: WriteFolder, name: str) -> None:
    path = write_folder()
    (path / name).unlink()
    (path / name).mkdir()
    with pytest.raises(InvalidModelError, match=f"{name}: expected .*it is missing"):
        load_model_folder(path)


def test_a_name_too_long_for_the_file_system_is_refused(write_folder: WriteFolder) -> None:
    path = write_folder()
    document = json.loads((path / "card.json").read_text(encoding="utf-8"))
    document["files"]["a" * 5000] = "0" * 64
    (path / "card.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(
        InvalidModelError, match="expected a readable file or folder, got: File name"
    ):
        load_model_folder(path)


@pytest.mark.parametrize("name", ["model.onnx", "reference.npz", "README.md", "LICENSE"])
def test_a_missing_file_is_named(write_folder: WriteFolder, name: str) -> None:
    path = write_folder()
    (path / name).unlink()
    with pytest.raises(InvalidModelError, match=f"{name}: expected the file that the card lists"):
        load_model_folder(path)


@pytest.mark.parametrize("name", ["model.onnx", "reference.npz", "README.md", "LICENSE"])
def test_a_single_changed_bit_is_refused(write_folder: WriteFolder, name: str) -> None:
    path = write_folder()
    data = bytearray((path / name).read_bytes())
    data[-1] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(
        InvalidModelError, match=f"{name}: expected the sha256 .* changed or damaged"
    ):
        load_model_folder(path)


@pytest.mark.parametrize("name", ["model__onnx", "reference__npz", "README__md", "LICENSE"])
def test_a_card_that_leaves_out_a_needed_file_is_refused(
    write_folder: WriteFolder, name: str
) -> None:
    path = write_folder(**{name: None})
    with pytest.raises(InvalidModelError, match="in files, it is not listed"):
        load_model_folder(path)


def test_weights_beside_the_card_that_it_does_not_list_are_refused(
    write_folder: WriteFolder,
) -> None:
    path = write_folder()
    (path / "model.safetensors").write_bytes(b"weights from somewhere")
    with pytest.raises(
        InvalidModelError, match=r"model\.safetensors is there but the card does not"
    ):
        load_model_folder(path)


def test_listed_weights_are_verified(write_folder: WriteFolder) -> None:
    path = write_folder(model__safetensors=b"weights")
    load_model_folder(path)
    (path / "model.safetensors").write_bytes(b"Weights")
    with pytest.raises(InvalidModelError, match=r"model\.safetensors: expected the sha256"):
        load_model_folder(path)


def test_other_files_do_not_matter(write_folder: WriteFolder) -> None:
    path = write_folder()
    checksum = load_model_folder(path).identity.checksum
    (path / ".DS_Store").write_bytes(b"left by a file manager")
    assert load_model_folder(path).identity.checksum == checksum


@pytest.mark.parametrize(
    "name", ["../card.json", "a/b", "/etc/passwd", "..", "", "a\\b", "card.json", "a\0"]
)
def test_a_name_that_leads_elsewhere_is_refused(write_folder: WriteFolder, name: str) -> None:
    path = write_folder()
    document = json.loads((path / "card.json").read_text(encoding="utf-8"))
    document["files"][name] = "0" * 64
    (path / "card.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InvalidModelError, match="expected plain file names in files"):
        load_model_folder(path)


def test_a_checksum_of_another_form_is_refused(write_folder: WriteFolder) -> None:
    path = write_folder()
    document = json.loads((path / "card.json").read_text(encoding="utf-8"))
    document["files"]["LICENSE"] = document["files"]["LICENSE"].upper()
    (path / "card.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InvalidModelError, match="expected a sha256 of 64 hexadecimal digits"):
        load_model_folder(path)


def test_a_newer_folder_asks_for_an_update(write_folder: WriteFolder) -> None:
    path = write_folder()
    (path / "card.json").write_text('{"format_version": 9, "unheard": "of"}', encoding="utf-8")
    with pytest.raises(InvalidModelError, match=r"made by a newer chestx.*update chestx; in "):
        load_model_folder(path)


def _bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


class _Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a pickle was opened",)


def _save_pickled(buffer: io.BytesIO) -> None:
    np.savez(buffer, mean=np.array([_Trap()], dtype=object))


def _save_bomb(buffer: io.BytesIO) -> None:
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("mean.npy", "w") as out,
    ):
        for _ in range(260):
            out.write(bytes(1024 * 1024))


def _save_member(data: bytes, name: str = "mean.npy") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def _npy(shape: str) -> bytes:
    """A version 1 npy file of 16 bytes that claims a shape."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(16)


def _patch_members(data: bytes, *, local: int, central: int, value: bytes) -> bytes:
    """Overwrites a field of the one member's two headers, at its offset in each."""
    changed = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        start = data.index(mark) + offset
        changed[start : start + len(value)] = value
    return bytes(changed)


def _bad_deflate() -> bytes:
    data = _save_member(_npy("(16,)"))
    start = 30 + len("mean.npy")
    return data[:start] + b"\xff" * 8 + data[start + 8 :]


PLAIN = _save_member(_npy("(16,)"))
HOSTILE_REFERENCES = {
    "a shape of 10**12": _save_member(_npy("(1000000000000,)")),
    "a shape of 10**30": _save_member(_npy(f"({10**30},)")),
    "a negative shape": _save_member(_npy("(-4,)")),
    "a header of brackets": _save_member(_npy("(" * 5000)),
    "bad deflate": _bad_deflate(),
    "method 99": _patch_members(PLAIN, local=8, central=10, value=b"\x63\x00"),
    "encrypted": _patch_members(PLAIN, local=6, central=8, value=b"\x01\x00"),
    "text": _bytes_of(lambda buffer: np.savez(buffer, mean=np.array(["a", "b"]))),
    "dates": _bytes_of(lambda buffer: np.savez(buffer, mean=np.array(["2020"], "M8[Y]"))),
    "a member that is no array": _save_member(b"just bytes"),
    "a member of another name": _save_member(b"just bytes", "note.txt"),
    "npy and zip at once": _npy("(16,)") + PLAIN,
}


@pytest.mark.parametrize("name", HOSTILE_REFERENCES)
def test_a_hostile_reference_is_refused_in_a_sentence(write_folder: WriteFolder, name: str) -> None:
    path = write_folder(reference__npz=HOSTILE_REFERENCES[name])
    with pytest.raises(InvalidModelError, match="expected an npz of plain arrays, got"):
        load_model_folder(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_bytes_of(_save_pickled), "expected an npz of plain arrays"),
        (pickle.dumps(_Trap()), "expected an npz of plain arrays"),
        (b"", "expected an npz of plain arrays"),
        (b"PK\x03\x04 no archive", "expected an npz of plain arrays"),
        (_bytes_of(_save_bomb), r"expected at most 268435456 bytes unpacked, got 27\d+"),
    ],
)
def test_a_reference_that_is_not_plain_arrays_is_refused(
    write_folder: WriteFolder, data: bytes, message: str
) -> None:
    path = write_folder(reference__npz=data)
    with pytest.raises(InvalidModelError, match=message):
        load_model_folder(path)


def test_no_name_is_the_model_of_the_package(default_folder: Path) -> None:
    assert resolve_model() == default_folder
    assert resolve_model("default") == default_folder
    assert resolve_model("chestx-default") == default_folder
    assert (default_folder / "card.json").is_file()


def test_models_are_found_by_folder_name_card_name_and_path(
    write_folder: WriteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_folder("here", named="ours")
    assert resolve_model(path) == path
    assert resolve_model(str(path)) == path
    monkeypatch.setenv("CHESTX_MODELS", str(path))
    assert resolve_model("here") == path
    assert resolve_model("ours") == path


def test_folders_of_models_and_missing_places_in_the_variable_are_taken(
    write_folder: WriteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_folder("inside", named="ours")
    monkeypatch.setenv("CHESTX_MODELS", f"/no/such/place:{path.parent}:{path}::")
    found = [folder.path for folder in list_model_folders()]
    assert found == [resolve_model(), path]


def test_a_broken_model_is_left_out_of_the_list_with_the_reason(
    write_folder: WriteFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_folder("broken")
    (path / "LICENSE").unlink()
    monkeypatch.setenv("CHESTX_MODELS", str(path))
    with caplog.at_level(logging.WARNING):
        found = [folder.path for folder in list_model_folders()]
    assert found == [resolve_model()]
    assert "LICENSE: expected the file that the card lists" in caplog.text


def test_a_name_of_several_models_is_refused(
    write_folder: WriteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = write_folder("first", named="same"), write_folder("second", named="same")
    monkeypatch.setenv("CHESTX_MODELS", str(first.parent))
    with pytest.raises(UsageError, match=r"expected one of that name, got 2: .*first, .*second"):
        resolve_model("same")
    assert resolve_model("second") == second


def test_an_unknown_name_lists_what_there_is(default_folder: Path) -> None:
    with pytest.raises(UsageError, match="'lungs': expected the name of a model or a model folder"):
        resolve_model("lungs")
    with pytest.raises(UsageError, match=f"models here: default .{default_folder}."):
        resolve_model("./lungs")
