"""The folder of a run's DICOM objects: what is ours in it, and how a file appears there.

The folder may be one that others watch and write to. A file appears under its name only
when it is whole and on the disk; what chestx did not write is never touched.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from chestx.batch.options import OBJECT_NAME
from chestx.domain import ChestxError, UsageError
from chestx.export.dicom_common import IMPLEMENTATION_CLASS_UID
from chestx.files import open_without_following

_STAGED = ".chestx-part"
_STAGED_NAME = re.compile(rf"\.(?:{OBJECT_NAME.pattern}){re.escape(_STAGED)}")
# The file meta group, where the writer is named, is at the beginning.
_HEAD_BYTES = 1024


def check_object_folder(folder: Path, *, replace: bool) -> None:
    """Makes the folder; objects of an earlier run in it are a mistake unless told otherwise.

    Args:
        folder: made if it is not there.
        replace: whether the objects of an earlier run may go.

    Raises:
        UsageError: it cannot be made, holds objects of an earlier run, or something under the
            name of an object that chestx did not write.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = list(_list_names(folder))
    except OSError as error:
        raise UsageError(f"{str(folder)!r}: cannot be made: {error.strerror}") from error
    for name in names:
        if not _is_own(folder / name):
            raise UsageError(
                f"{str(folder)!r} holds {name} that chestx did not write; name another folder"
            )
    if names and not replace:
        raise UsageError(
            f"{str(folder)!r} holds {names[0]} of an earlier run already; name another folder "
            "for the DICOM objects, or give --overwrite to replace them"
        )


def remove_objects(folder: Path, *, keep: Collection[str] = ()) -> None:
    """Takes away the objects of earlier runs, half-written ones too, and only those.

    Args:
        folder: of the objects.
        keep: names of objects that stay.

    Raises:
        ChestxError: one of them cannot be taken away.
    """
    try:
        for name in list(_list_names(folder)):
            if name not in keep and _is_own(folder / name):
                (folder / name).unlink()
    except OSError as error:
        raise ChestxError(
            f"{str(folder)!r}: an object of an earlier run cannot be removed: {error.strerror}"
        ) from error


def stage_object(folder: Path, name: str, data: bytes) -> None:
    """Writes an object to its end and the disk, under a name that nobody takes for an object."""
    staged = folder / f".{name}{_STAGED}"
    try:
        # Nothing of that name is left from before, unless somebody put it there meanwhile.
        with open(staged, "xb", opener=open_without_following) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise
    except OSError as error:
        # A disk that is full does not say which file it was.
        with suppress(OSError):
            staged.unlink()
        raise OSError(error.errno, error.strerror, str(folder / name)) from error


def show_object(folder: Path, name: str) -> None:
    """Gives a staged object its name; a link under that name is replaced, not followed."""
    os.replace(folder / f".{name}{_STAGED}", folder / name)


def drop_object(folder: Path, name: str) -> None:
    """Takes away a staged object."""
    with suppress(FileNotFoundError):
        (folder / f".{name}{_STAGED}").unlink()


def _list_names(folder: Path) -> Iterator[str]:
    """Everything under a name that an object could have, in a stable order."""
    for name in sorted(os.listdir(folder)):
        if OBJECT_NAME.fullmatch(name) or _STAGED_NAME.fullmatch(name):
            yield name


def _is_own(path: Path) -> bool:
    """Whether chestx wrote a file: by its name and by what its file meta group says."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return False
    if path.name.endswith(_STAGED):
        # Cut anywhere, so that only the name tells.
        return True
    with open(path, "rb", opener=open_without_following) as file:
        head = file.read(_HEAD_BYTES)
    return head[128:132] == b"DICM" and IMPLEMENTATION_CLASS_UID.encode("ascii") in head
