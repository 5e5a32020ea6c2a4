"""Names, links, devices and other things in a folder that are no plain readable file."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile_seeds import EXPLICIT, Case, make_good_pictures, write_good

NAMES_NOTE = "a name alone is no fault"


def list_place_cases() -> Iterator[Case]:
    """Every case that is about where and how a file lies."""
    good = make_good_pictures()["grey.png"]
    yield from _special()
    yield from _links()
    yield from _names(good)
    yield from _sizes()
    readable = os.geteuid() == 0
    yield Case(
        "no permission",
        "forbidden.png",
        lambda path: _write_with_mode(path, good, 0),
        "readable" if readable else "failed",
        "the superuser may read everything" if readable else "",
        must_name="permitted",
    )
    for name in ("twice-a.png", "twice-b.png", "twice-c.png"):
        yield Case("same content", name, good, "readable", "each file has its own row")
    for name in ("CASE.png", "case.png", "Case.png"):
        note = "two files where case counts; the later replaces the earlier where not"
        yield Case("names by case", name, good, "readable", note)
    dicom = write_good(EXPLICIT)
    for name in ("same-uid-a.dcm", "same-uid-b.dcm"):
        yield Case("same identifiers", name, dicom, "readable", "both are images of one study")


def _special() -> Iterator[Case]:
    yield Case("named pipe", "pipe.dcm", os.mkfifo, must_name="pipe")
    yield Case("named pipe", "pipe.png", os.mkfifo, must_name="pipe")
    yield Case("socket", "socket.dcm", _make_socket, must_name="socket")
    for device in ("zero", "full", "random", "null", "tty", "stdin"):
        target = Path("/dev", device)
        if device == "stdin" or target.exists():
            note = "what standard input is decides"
            yield Case("device by link", f"device-{device}.dcm", _link_to(str(target)), note=note)
    blocks = sorted(Path("/dev").glob("[lsvn]*[a-z0-9]"))
    block = next((path for path in blocks if path.is_block_device()), None)
    if block is not None:
        yield Case("device by link", "device-block.dcm", _link_to(str(block)))
    for name in ("environ", "mem", "maps"):
        yield Case("kernel file by link", f"proc-{name}.dcm", _link_to(f"/proc/self/{name}"))


def _links() -> Iterator[Case]:
    yield Case("dangling link", "dangling.png", _link_to("nowhere.png"))
    yield Case("dangling link", "dangling-deep.png", _link_to("/no/such/place/x.png"))
    yield Case("link loop", "loop.png", _link_to("loop.png"), must_name="circle")
    yield Case("link loop", "loop-a.dcm", _link_to("loop-b.dcm"), must_name="circle")
    yield Case("link loop", "loop-b.dcm", _link_to("loop-a.dcm"), must_name="circle")
    yield Case("link through a file", "through.png", _link_to("same-uid-a.dcm/x.png"))


def _names(good: bytes) -> Iterator[Case]:
    names: dict[str, str | bytes] = {
        "newline": "line\nbreak.png",
        "carriage return": "carriage\rreturn.png",
        "quotes": "\"double\" 'single' `back`.png",
        "html": "<img src=x onerror=alert(1)>.png",
        "formula": "=HYPERLINK(1,2).png",
        "plus": "+1+1.png",
        "at": "@SUM(A1).png",
        "option": "--overwrite.png",
        "right to left": "abc\u202egnp.png",
        "invisible": "zero\u200bwidth.png",
        "arabic": "\u0635\u062f\u0631.png",
        "composed": "e\u0301.png",
        "emoji": "\U0001fac1.png",
        "invalid utf-8": b"latin-\xe9\xff.png",
        "utf-8 surrogate": b"\xed\xa0\x80.png",
        "250 bytes": "n" * 246 + ".png",
        "escape codes": "\x1b[31mred\x07.png",
        "comma": "a,b;c\td.png",
        "percent": "%s%n%2e%2e%2f.png",
        "backslash": "x\\..\\..\\y.png",
        "shell": "$(reboot);`reboot`|x.png",
        "spaces": "  spaces  .png",
        "glob": "[a-z]*?.png",
        "no suffix": "nosuffix",
        "pattern of a format": "{0}{path}.png",
    }
    for name in names.values():
        yield Case("hostile name", name, good, "readable", NAMES_NOTE)
        broken = name[:-4] + (b"-cut.png" if isinstance(name, bytes) else "-cut.png")  # type: ignore[operator]
        if len(os.fsencode(broken)) <= 255:
            yield Case("hostile name, cut file", broken, good[: len(good) // 2])
    deep = "/".join(["deep"] * 200) + "/deep.png"
    yield Case("200 folders deep", deep, good, "readable", NAMES_NOTE)


def _sizes() -> Iterator[Case]:
    for name, size in {"sparse-3-gb.dcm": 3 << 30, "sparse-1-tb.png": 1 << 40}.items():
        yield Case("giant file", name, _make_sparse(size, b""), must_name="bytes")
    start = b"\0" * 128 + b"DICM"
    yield Case(
        "giant file", "sparse-dicom-3-gb.dcm", _make_sparse(3 << 30, start), must_name="bytes"
    )
    yield Case("sparse file", "sparse-300-mb.dcm", _make_sparse(300 << 20, start))
    yield Case("sparse file", "sparse-300-mb.png", _make_sparse(300 << 20, b"\x89PNG\r\n\x1a\n"))
    yield Case("sparse file", "sparse-300-mb.tif", _make_sparse(300 << 20, b"II*\0\x08\0\0\0"))


def _make_sparse(size: int, start: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with open(path, "wb") as file:
            file.write(start)
            file.truncate(size)

    return make


def _link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _make_socket(path: Path) -> None:
    # The path of a socket may have 108 bytes at most; from inside its folder it is short.
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def _write_with_mode(path: Path, data: bytes, mode: int) -> None:
    path.write_bytes(data)
    path.chmod(mode)
