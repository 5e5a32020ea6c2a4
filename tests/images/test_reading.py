"""A path or bytes become a radiograph, or one sentence says why not."""

from __future__ import annotations

import errno
import io
import os
import socket
import struct
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from chestx.domain import Limits, UnreadableImageError
from chestx.images import raster
from chestx.images.reading import decode_radiograph, load_bytes, read_radiograph


@pytest.fixture(scope="module")
def png() -> bytes:
    picture = np.random.default_rng(2).integers(0, 256, (40, 50), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def refusal_to_load(path: Path | str, limits: Limits | None = None) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        load_bytes(path, limits=limits or Limits())
    return str(caught.value)


def refusal_to_decode(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode_radiograph(data, limits=limits or Limits())
    return str(caught.value)


def test_path_text_and_bytes_give_the_same_radiograph(tmp_path: Path, png: bytes) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(png)
    shown = [read_radiograph(source).pixels for source in (path, str(path), png)]
    np.testing.assert_array_equal(shown[0], shown[1])
    np.testing.assert_array_equal(shown[0], shown[2])
    assert load_bytes(path) == png


def test_a_link_to_a_file_is_followed(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "file").write_bytes(png)
    (tmp_path / "link").symlink_to("file")
    assert load_bytes(tmp_path / "link") == png


def test_a_folder_is_refused(tmp_path: Path) -> None:
    message = "expected a regular file, got a folder; give a file"
    assert refusal_to_load(tmp_path) == message


def test_a_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    answers: list[str] = []
    thread = threading.Thread(
        target=lambda: answers.append(refusal_to_load(tmp_path / "pipe")), daemon=True
    )
    thread.start()
    thread.join(timeout=5)
    assert answers == ["expected a regular file, got a named pipe; give a file"]


def test_a_device_is_refused() -> None:
    assert refusal_to_load("/dev/zero") == "expected a regular file, got a device; give a file"


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert "it is a socket or a device" in refusal_to_load("s")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "links go round in a circle" in refusal_to_load(tmp_path / "a")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "there is none (any more)" in refusal_to_load(tmp_path / "x")


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert "a part of its path is no folder" in refusal_to_load(tmp_path / "file" / "x")


def test_too_long_a_name_is_refused(tmp_path: Path) -> None:
    assert "its name is too long" in refusal_to_load(tmp_path / ("x" * 300))


def test_text_that_is_no_path_is_refused() -> None:
    assert "got text that cannot be one" in refusal_to_load("a\0b")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "reading it is not permitted"),
        (errno.EMFILE, "too many files are open"),
        (errno.EIO, "the disk reports an error"),
        (errno.ENOLCK, "the system says: No locks available"),
    ],
)
def test_what_the_system_refuses_is_said_in_words(
    number: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("chestx.images.reading.os.open", refuse)
    assert words in refusal_to_load("x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "x").chmod(0)
    assert "reading it is not permitted" in refusal_to_load(tmp_path / "x")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    message = "expected a radiograph, got an empty file; fetch it again"
    assert refusal_to_load(tmp_path / "x") == message
    assert refusal_to_decode(b"") == message


def test_too_large_a_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(1 << 40)
    message = refusal_to_load(tmp_path / "x")
    assert message.startswith("expected a file of at most 536870912 bytes, got 1099511627776")


def test_a_file_that_grows_while_it_is_read_meets_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(bytes(10))
    monkeypatch.setattr("chestx.images.reading.os.read", lambda _, size: bytes(size))
    assert "expected a file of at most 20 bytes" in refusal_to_load(
        tmp_path / "x", Limits(max_bytes=20)
    )


def test_too_many_bytes_are_refused(png: bytes) -> None:
    assert "expected a file of at most 10 bytes" in refusal_to_decode(png, Limits(max_bytes=10))


def test_descriptors_are_closed_whatever_happens(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "x").write_bytes(png)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        load_bytes(tmp_path / "x")
        refusal_to_load(tmp_path)
        refusal_to_load(tmp_path / "x", Limits(max_bytes=1))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "error",
    [
        cv2.error("no"),
        OSError("no"),
        ValueError("no"),
        struct.error("no"),
        RecursionError("no"),
        KeyError("no"),
    ],
)
def test_whatever_a_library_raises_becomes_a_sentence(
    png: bytes, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(raster, "examine_raster", fail)
    assert refusal_to_decode(png).startswith(
        "expected a whole file of its kind, got one that cannot be decoded ("
    )


@pytest.mark.parametrize("stage", ["examine_raster", "_decode_with_opencv"])
def test_running_out_of_memory_becomes_a_sentence(
    png: bytes, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(raster, stage, fail)
    assert "expected a picture that fits the memory" in refusal_to_decode(png)


def test_running_out_of_memory_in_opencv_becomes_the_same_sentence(
    png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        error = cv2.error("Failed to allocate")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(raster, "_decode_with_opencv", fail)
    assert "expected a picture that fits the memory" in refusal_to_decode(png)


def test_dicom_is_told_by_content(cxr: Path) -> None:
    name = "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm"
    shown = read_radiograph((cxr / "originals" / "dicom" / name).read_bytes())
    assert shown.header.format == "DICOM"
    assert shown.pixels.shape == (1024, 1024)


def test_every_original_is_read_or_refused_in_a_sentence(cxr: Path) -> None:
    paths = [path for path in sorted((cxr / "originals").rglob("*")) if path.is_file()]
    for path in paths[::4]:
        assert describe(path).startswith(("read ", "expected ")), path


def describe(path: Path) -> str:
    try:
        return f"read {read_radiograph(path).pixels.shape}"
    except UnreadableImageError as refusal:
        return str(refusal)
