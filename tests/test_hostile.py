"""One file of each hostile kind, each read in a process of its own with little memory and time."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

READ_EACH_APART = """
import json, os, resource, signal, sys

import chestx.images.dicom, chestx.images.raster  # before the fork, so that each child is quick
import gdcm, jpeg_ls, openjpeg.utils, rle.utils
from chestx.domain import UnreadableImageError
from chestx.images.reading import read_radiograph

def read(path, answer):
    resource.setrlimit(resource.RLIMIT_AS, (2_500_000_000, 2_500_000_000))
    signal.alarm(20)
    try:
        read_radiograph(path)
        outcome = ["readable", ""]
    except UnreadableImageError as error:
        outcome = ["failed", str(error)]
    except BaseException as error:
        outcome = ["escaped", repr(error)]
    os.write(answer, json.dumps(outcome).encode())
    os._exit(0)

for path in json.load(sys.stdin):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        read(path, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    status = os.waitpid(child, 0)[1]
    outcome = json.loads(answer) if answer else ["died", f"signal {status & 127}"]
    print(json.dumps(outcome), flush=True)
"""


@pytest.fixture(scope="module")
def hostile_files(repository: Path) -> Iterator[Any]:
    """The generator, which lies beside the benchmark that uses all of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository / "benchmarks"))
        yield importlib.import_module("hostile_files")


@pytest.fixture(scope="module")
def cases(hostile_files: Any) -> list[Any]:
    """Every hostile file."""
    return list(hostile_files.list_cases())


@pytest.fixture(scope="module")
def outcomes(cases: list[Any], tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """The first case of each kind, what became of it, and the reason."""
    folder = tmp_path_factory.mktemp("hostile")
    first = list({case.kind: case for case in reversed(cases)}.values())
    paths = []
    for number, case in enumerate(first):
        path = folder / str(number) / os.fsdecode(case.name)
        path.parent.mkdir(parents=True)
        if isinstance(case.content, bytes):
            path.write_bytes(case.content)
        else:
            case.content(path)
        paths.append(str(path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ_EACH_APART],
        input=json.dumps(paths),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [(case, outcome, reason) for case, (outcome, reason) in zip(first, answers, strict=True)]


def test_there_are_many_bad_files_of_many_kinds(cases: list[Any]) -> None:
    assert len(cases) >= 500
    assert len({case.kind for case in cases}) >= 25


def test_no_two_hostile_files_of_a_kind_share_a_name(cases: list[Any]) -> None:
    twice = [key for key, n in Counter((case.kind, case.name) for case in cases).items() if n > 1]
    assert twice == []


def test_a_case_that_need_not_fail_says_why(cases: list[Any]) -> None:
    assert [case.name for case in cases if case.expected != "failed" and not case.note] == []


def test_no_hostile_file_ends_its_process_or_escapes(outcomes: list[tuple[Any, ...]]) -> None:
    ended = [(c.name, how, why) for c, how, why in outcomes if how not in ("failed", "readable")]
    assert ended == []


def test_each_hostile_file_is_refused_or_read_as_expected(outcomes: list[tuple[Any, ...]]) -> None:
    surprises = [
        (case.name, how, why)
        for case, how, why in outcomes
        if case.expected != "either" and how != case.expected
    ]
    assert surprises == []


def test_each_refusal_names_the_fault(outcomes: list[tuple[Any, ...]]) -> None:
    vague = [
        (case.name, why)
        for case, how, why in outcomes
        if how == "failed" and (not why or "Error)" in why or case.must_name not in why.lower())
    ]
    assert vague == []
