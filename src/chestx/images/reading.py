"""From a path or bytes to a radiograph; every fault is one sentence."""

from __future__ import annotations

import errno
import logging
import os
import stat

from chestx.domain import Limits, Radiograph, UnreadableImageError

_LOG = logging.getLogger(__name__)
_USUAL_LIMITS = Limits()

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

_OPENING = {
    errno.ENOENT: "there is none (any more); check the path",
    errno.ENOTDIR: "a part of its path is no folder; check the path",
    errno.EACCES: "reading it is not permitted; change its permissions",
    errno.EPERM: "reading it is not permitted; change its permissions",
    errno.ELOOP: "its links go round in a circle; give the file itself",
    errno.ENAMETOOLONG: "its name is too long; shorten the path",
    errno.ENXIO: "it is a socket or a device; give a file",
    errno.EISDIR: "it is a folder; give a file",
    errno.EMFILE: "too many files are open; raise the limit of open files",
    errno.EIO: "the disk reports an error; check the disk",
}


def load_bytes(path: str | os.PathLike[str], *, limits: Limits = _USUAL_LIMITS) -> bytes:
    """Reads a regular file; never waits for a pipe or a device.

    The opened file itself is examined, so that nothing can be put in its place
    between the look and the reading.

    Args:
        path: of the file; links are followed.
        limits: ``max_bytes`` is held against the size before and while reading.

    Raises:
        UnreadableImageError: there is no such file, it is no regular file, it may not
            be read, it is empty or too large.
    """
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags)
        try:
            _check_kind(os.fstat(descriptor), limits)
            data = _read_all(descriptor, limits.max_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        why = _OPENING.get(error.errno or 0, f"the system says: {error.strerror}")
        raise UnreadableImageError(f"expected a file that can be read, but {why}") from error
    except ValueError as error:
        raise UnreadableImageError(
            "expected the path of a file, got text that cannot be one; check the path"
        ) from error
    if not data:
        raise UnreadableImageError("expected a radiograph, got an empty file; fetch it again")
    return data


def _check_kind(status: os.stat_result, limits: Limits) -> None:
    for is_kind, name in _KINDS:
        if is_kind(status.st_mode):
            raise UnreadableImageError(f"expected a regular file, got {name}; give a file")
    if status.st_size > limits.max_bytes:
        raise _too_large(status.st_size, limits.max_bytes)


def _read_all(descriptor: int, max_bytes: int) -> bytes:
    """Everything up to the limit; a file that grows meanwhile meets the limit too."""
    parts: list[bytes] = []
    size = 0
    while part := os.read(descriptor, 1 << 24):
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise _too_large(size, max_bytes)
    return b"".join(parts)


def _too_large(size: int, max_bytes: int) -> UnreadableImageError:
    return UnreadableImageError(
        f"expected a file of at most {max_bytes} bytes, got {size}; raise the limit if it is meant"
    )


def decode_radiograph(
    data: bytes, *, limits: Limits = _USUAL_LIMITS, least_side: int = 0
) -> Radiograph:
    """Decodes DICOM, PNG, JPEG, TIFF or BMP, decided by content.

    Args:
        data: a whole file.
        limits: what it may cost.
        least_side: shorter side in pixels that will do, 0 for all there are; only DICOM
            with JPEG 2000 can be decoded in part.

    Returns:
        The radiograph as a reader sees it.

    Raises:
        UnreadableImageError: whatever is wrong with the file, in one sentence.
    """
    if not data:
        raise UnreadableImageError("expected a radiograph, got an empty file; fetch it again")
    if len(data) > limits.max_bytes:
        raise _too_large(len(data), limits.max_bytes)
    try:
        return _decode(data, limits, least_side)
    except UnreadableImageError:
        raise
    except MemoryError as error:
        raise UnreadableImageError(
            "expected a picture that fits the memory, got a larger one; export a smaller one"
        ) from error
    except Exception as error:  # whatever a library raises on a broken file is the file's fault
        _LOG.debug("decoding failed", exc_info=True)
        raise UnreadableImageError(
            "expected a whole file of its kind, got one that cannot be decoded "
            f"({type(error).__name__}); fetch it again from its source"
        ) from error


def _decode(data: bytes, limits: Limits, least_side: int) -> Radiograph:
    from chestx.images.dicom import decode_dicom, is_dicom

    if is_dicom(data):
        return decode_dicom(data, limits=limits, least_side=least_side)
    from chestx.images.raster import decode_raster

    return decode_raster(data, limits=limits)


def read_radiograph(
    path_or_bytes: str | os.PathLike[str] | bytes, *, limits: Limits = _USUAL_LIMITS
) -> Radiograph:
    """Reads one radiograph from a file or from the bytes of one.

    Args:
        path_or_bytes: a path, or a whole file's content.
        limits: what it may cost.

    Returns:
        The radiograph as a reader sees it: window applied, bright is dense.

    Raises:
        UnreadableImageError: whatever is wrong with the file, in one sentence.
    """
    if isinstance(path_or_bytes, bytes):
        return decode_radiograph(path_or_bytes, limits=limits)
    return decode_radiograph(load_bytes(path_or_bytes, limits=limits), limits=limits)
