"""A child process takes one broken file with it, and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chestx.domain import InputSpec, Limits
from chestx.images.preparation import Preparation, PreparationError, prepare_image
from chestx.images.worker import Worker, WorkerLimits

PREPARATION = Preparation(input=InputSpec(size=224), preview_size=128, limits=Limits())


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(PREPARATION, WorkerLimits(timeout_s=20))
    yield worker
    worker.close()


def end_in_work(process_id: int, how: signal.Signals) -> None:
    """Stops the child so that it takes its next file without working on it, and ends it then."""
    os.kill(process_id, signal.SIGSTOP)

    def end() -> None:
        os.kill(process_id, how)
        os.kill(process_id, signal.SIGCONT)

    threading.Timer(0.5, end).start()


def test_a_child_gives_what_this_process_would(worker: Worker, samples: Path) -> None:
    for path in sorted(samples.glob("[ac]*")):
        expected = prepare_image(str(path), PREPARATION)
        image = worker.prepare(str(path))
        assert np.array_equal(image.pixels, expected.pixels)
        assert expected.preview is not None
        assert image.preview is not None
        assert np.array_equal(image.preview, expected.preview)
        assert (image.header, image.quality) == (expected.header, expected.quality)
        assert image.sha256 == expected.sha256
        assert set(image.seconds) == {"read", "preprocess"}


def test_a_path_counts_from_the_folder_of_the_caller_not_of_the_child(
    worker: Worker, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for name in ("child-1-normal.jpg", "child-3-pneumonia.jpg"):
        (tmp_path / name).mkdir()
        shutil.copyfile(samples / name, tmp_path / name / "chest.jpg")
        monkeypatch.chdir(tmp_path / name)
        digests.append(worker.prepare("chest.jpg").sha256)
        assert digests[-1] == hashlib.sha256((samples / name).read_bytes()).hexdigest()
    assert digests[0] != digests[1]
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(PreparationError, match="cannot be read: the working folder: No such file"):
        worker.prepare("chest.jpg")
    assert worker.prepare(str(samples / "child-1-normal.jpg")).sha256 == digests[0]


def test_a_hard_limit_of_the_system_is_not_raised(samples: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from chestx.domain import InputSpec, Limits\n"
        "from chestx.images.preparation import Preparation\n"
        "from chestx.images.worker import Worker\n"
        "worker = Worker(Preparation(input=InputSpec(size=224), preview_size=0, limits=Limits()))\n"
        "print(worker.prepare(sys.argv[1]).pixels.shape)\n"
        "worker.close()\n"
    )
    answer = subprocess.run(
        [
            *("sh", "-c", 'ulimit -v 2900000; exec "$0" "$@"'),
            *(sys.executable, "-c", script, str(samples / "child-1-normal.jpg")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.stdout, answer.stderr) == ("(224, 224)\n", "")


def test_a_child_refuses_as_this_process_would(worker: Worker, samples: Path) -> None:
    path = str(samples / "other-2-damaged.jpg")
    with pytest.raises(PreparationError) as here:
        prepare_image(path, PREPARATION)
    with pytest.raises(PreparationError) as there:
        worker.prepare(path)
    assert str(there.value) == str(here.value)
    assert there.value.sha256 == here.value.sha256 != ""


def test_bytes_are_taken_as_a_path_is(worker: Worker, samples: Path) -> None:
    path = samples / "adult-4-pneumonia-jpegls.dcm"
    by_path, by_bytes = worker.prepare(str(path)), worker.prepare(path.read_bytes())
    assert by_path.sha256 == by_bytes.sha256
    assert np.array_equal(by_path.pixels, by_bytes.pixels)


def test_a_header_survives_with_a_broken_image(worker: Worker, samples: Path) -> None:
    data = (samples / "adult-4-pneumonia-jpegls.dcm").read_bytes()
    with pytest.raises(PreparationError) as caught:
        worker.prepare(data[: len(data) * 3 // 4])
    assert caught.value.header is not None
    assert caught.value.header.study_instance_uid.startswith("2.25.")


def test_a_child_that_is_killed_costs_one_file_and_is_replaced(
    worker: Worker, samples: Path, tmp_path: Path
) -> None:
    good = str(samples / "child-1-normal.jpg")
    worker.prepare(good)
    first = worker.process_id
    assert first is not None
    end_in_work(first, signal.SIGKILL)
    with pytest.raises(PreparationError, match=r"decoder gave up \(SIGKILL"):
        worker.prepare(good)
    assert worker.prepare(good).sha256
    assert worker.process_id != first


def test_a_child_that_crashes_says_by_which_signal(worker: Worker, samples: Path) -> None:
    good = str(samples / "child-1-normal.jpg")
    worker.prepare(good)
    assert worker.process_id is not None
    end_in_work(worker.process_id, signal.SIGSEGV)
    with pytest.raises(PreparationError, match=r"decoder crashed \(SIGSEGV\)"):
        worker.prepare(good)


def test_a_file_that_takes_too_long_is_given_up(samples: Path) -> None:
    good = str(samples / "child-1-normal.jpg")
    worker = Worker(PREPARATION, WorkerLimits(timeout_s=0.001))
    try:
        with pytest.raises(PreparationError, match=r"read in 0\.001 s, got one that takes longer"):
            worker.prepare(good)
    finally:
        worker.close()


def test_a_child_that_hangs_is_ended_by_its_parent(
    worker: Worker, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = str(samples / "child-1-normal.jpg")
    worker.prepare(good)
    assert worker.process_id is not None
    os.kill(worker.process_id, signal.SIGSTOP)
    monkeypatch.setattr("chestx.images.worker._GRACE_S", 0.2)
    monkeypatch.setattr(worker, "_limits", WorkerLimits(timeout_s=0.2))
    start = time.monotonic()
    with pytest.raises(PreparationError, match="takes longer"):
        worker.prepare(good)
    assert time.monotonic() - start < 10


def test_a_file_that_needs_more_memory_than_allowed_is_a_reason(tmp_path: Path) -> None:
    # 2 GiB of sparse zeros, more than the child may take in all.
    path = tmp_path / "large.dcm"
    with open(path, "wb") as file:
        file.truncate(2 << 30)
    preparation = Preparation(
        input=InputSpec(size=224), preview_size=0, limits=Limits(max_bytes=4 << 30)
    )
    worker = Worker(preparation, WorkerLimits(memory_mb=1536, timeout_s=60))
    try:
        with pytest.raises(PreparationError, match="memory"):
            worker.prepare(str(path))
    finally:
        worker.close()


def test_no_child_outlives_its_worker(samples: Path) -> None:
    worker = Worker(PREPARATION)
    worker.prepare(str(samples / "child-1-normal.jpg"))
    process_id = worker.process_id
    assert process_id is not None
    worker.close()
    assert worker.process_id is None
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


def test_an_interrupted_exchange_never_gives_its_answer_to_the_next_file(
    worker: Worker, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = samples / "child-1-normal.jpg", samples / "child-3-pneumonia.jpg"
    worker.prepare(str(first))

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("chestx.images.worker.read_message", interrupt)
        with pytest.raises(KeyboardInterrupt):
            worker.prepare(str(first))
    expected = prepare_image(str(second), PREPARATION)
    assert worker.prepare(str(second)).sha256 == expected.sha256


def test_a_child_that_ended_between_two_files_costs_none(worker: Worker, samples: Path) -> None:
    good = str(samples / "child-1-normal.jpg")
    worker.prepare(good)
    assert worker.process_id is not None
    os.kill(worker.process_id, signal.SIGKILL)
    os.waitid(os.P_PID, worker.process_id, os.WEXITED | os.WNOWAIT)
    assert worker.prepare(good).sha256
