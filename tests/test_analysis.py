"""An image becomes a report or a failure, and never ends the run."""

from __future__ import annotations

import gc
import itertools
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chestx
from chestx.analysis import Analyzer, MicroBatcher, StageClock
from chestx.analysis.batcher import _Waiting
from chestx.domain import ChestxError, Decision, Failure, Report, UsageError
from chestx.models.classifier import Classifier


def test_a_path_and_its_bytes_get_the_same_answer(samples: Path, classifier: Classifier) -> None:
    path = samples / "child-3-pneumonia.jpg"
    by_path = chestx.analyze(path, model=classifier)
    by_bytes = chestx.analyze(path.read_bytes(), model=classifier)
    assert isinstance(by_path, Report)
    assert isinstance(by_bytes, Report)
    assert by_path.probabilities == by_bytes.probabilities
    assert by_path.sha256 == by_bytes.sha256
    assert (by_path.source, by_bytes.source) == (str(path), "")


def test_a_report_holds_what_a_picture_needs(samples: Path, classifier: Classifier) -> None:
    report = chestx.analyze(samples / "adult-3-pneumonia.jpg", model=classifier)
    assert isinstance(report, Report)
    assert report.preview is not None
    assert max(report.preview.shape) <= 512
    assert report.maps is not None
    shown = report.map_of(report.shown_label)
    assert shown is not None
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert sum(report.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_a_file_that_is_not_there_is_a_failure(classifier: Classifier, tmp_path: Path) -> None:
    result = chestx.analyze(tmp_path / "missing.png", model=classifier)
    assert isinstance(result, Failure)
    assert result.decision is Decision.FAILED
    assert result.sha256 == ""
    assert "missing" not in result.reason or "no such file" in result.reason.lower()


def test_many_images_come_in_input_order_and_as_a_table(
    samples: Path, classifier: Classifier
) -> None:
    paths = sorted(samples.iterdir())
    results = list(chestx.analyze_files(paths, model=classifier, workers=2, threads=3))
    assert [result.source for result in results] == [str(path) for path in paths]
    frame = chestx.analyze_files(paths, model=classifier, workers=0).to_pandas()
    assert list(frame["path"]) == [str(path) for path in paths]
    assert frame["probability_PNEUMONIA"].dtype == float
    assert frame["probability_PNEUMONIA"].isna().sum() == 1


def test_one_path_where_a_list_belongs_is_refused(classifier: Classifier) -> None:
    with pytest.raises(TypeError, match=r"use chestx\.analyze for one image"):
        chestx.analyze_files("a.png", model=classifier)


def test_memory_is_bounded_because_inputs_are_taken_as_they_are_needed(
    samples: Path, classifier: Classifier
) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        for _ in itertools.count():
            taken += 1
            yield samples / "child-1-normal.jpg"

    with Analyzer(classifier, workers=0, threads=2, preview_size=0) as analyzer:
        stream = analyzer.stream(endless(), finish=lambda position, result: position)
        assert list(itertools.islice(stream, 5)) == [0, 1, 2, 3, 4]
        stream.close()
    assert taken <= 5 + 4 * 3


def test_the_shown_label_is_the_most_urgent_one_and_none_where_not_assessed(
    samples: Path, classifier: Classifier
) -> None:
    positive = chestx.analyze(samples / "child-3-pneumonia.jpg", model=classifier)
    inverted = chestx.analyze(samples / "other-1-inverted.png", model=classifier)
    assert isinstance(positive, Report)
    assert isinstance(inverted, Report)
    assert positive.shown_label == "PNEUMONIA"
    assert inverted.shown_label == ""


def test_numbers_out_of_range_are_refused(classifier: Classifier) -> None:
    with pytest.raises(UsageError, match="workers: expected 0 to 256, got -1"):
        Analyzer(classifier, workers=-1)
    with pytest.raises(UsageError, match="batch size: expected 1 to 1024, got 0"):
        Analyzer(classifier, batch_size=0)


def test_one_input_that_breaks_the_model_does_not_cost_its_neighbours_their_answer(
    classifier: Classifier,
) -> None:
    class Fragile:
        def predict(self, pixels: np.ndarray) -> list[int]:
            if (pixels == 255).all(axis=(1, 2)).any():
                raise ChestxError("no usable number")
            return [int(image[0, 0]) for image in pixels]

    batcher = MicroBatcher(classifier, batch_size=8, threads=1)
    batcher._classifier = Fragile()  # type: ignore[assignment]
    futures: list[Future[Any]] = [Future() for _ in range(3)]
    waiting = [
        _Waiting(np.full((4, 4), value, np.uint8), future)
        for value, future in zip((1, 255, 3), futures, strict=True)
    ]
    batcher._run(waiting)
    assert futures[0].result() == 1
    with pytest.raises(ChestxError, match="no usable number"):
        futures[1].result()
    assert futures[2].result() == 3
    batcher.close()


def test_a_closed_analyzer_says_so_and_does_not_wait(samples: Path, classifier: Classifier) -> None:
    with Analyzer(classifier, workers=1, threads=1) as analyzer:
        pass
    with pytest.raises(RuntimeError, match="this Analyzer is closed"):
        analyzer.analyze(samples / "child-1-normal.jpg")


def test_a_stream_that_is_left_early_ends_its_children(
    samples: Path, classifier: Classifier
) -> None:
    paths = [samples / "child-1-normal.jpg"] * 30
    with chestx.analyze_files(paths, model=classifier, workers=1) as results:
        assert isinstance(next(results), Report)
    workers = results._analyzer._workers
    assert [worker.process_id for worker in workers] == [None]


def test_a_stream_that_nobody_holds_any_more_ends_its_children_and_threads(
    samples: Path, classifier: Classifier
) -> None:
    paths = [samples / "child-1-normal.jpg"] * 30
    results = chestx.analyze_files(paths, model=classifier, workers=1, threads=1)
    assert isinstance(next(results), Report)
    process = results._analyzer._workers[0]._process
    (thread,) = results._analyzer._batcher._threads
    assert process is not None
    del results
    deadline = time.monotonic() + 20
    while process.poll() is None or thread.is_alive():
        assert time.monotonic() < deadline
        gc.collect()
        time.sleep(0.02)


def test_submit_gives_a_future(samples: Path, classifier: Classifier) -> None:
    with Analyzer(classifier, workers=1, threads=1) as analyzer:
        future = analyzer.submit(samples / "child-1-normal.jpg")
        assert isinstance(future.result(timeout=60), Report)


def test_an_error_that_nobody_foresaw_is_a_row_and_is_logged(
    samples: Path,
    classifier: Classifier,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def break_down(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("patient name")

    monkeypatch.setattr("chestx.analysis.judgement.assess_scope", break_down)
    with caplog.at_level(logging.ERROR, logger="chestx"):
        result = chestx.analyze(samples / "child-1-normal.jpg", model=classifier)
    assert isinstance(result, Failure)
    assert result.reason == "internal error: ZeroDivisionError"
    assert len(result.sha256) == 64
    assert "nobody foresaw: ZeroDivisionError in " in caplog.text
    assert "patient name" not in caplog.text


def test_too_little_memory_is_a_row(
    samples: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr("chestx.analysis.judgement.assess_scope", exhaust)
    result = chestx.analyze(samples / "child-1-normal.jpg", model=classifier)
    assert isinstance(result, Failure)
    assert "not enough memory" in result.reason


def test_the_clock_adds_up_by_stage_also_where_a_block_raises() -> None:
    clock = StageClock()
    for _ in range(2):
        with pytest.raises(KeyError), clock.measure("read"):
            raise KeyError
    assert set(clock.seconds) == {"read"}
    assert clock.seconds["read"] > 0
    assert clock.cpu_seconds["read"] >= 0


def test_the_preview_is_what_a_reader_sees(samples: Path, classifier: Classifier) -> None:
    path = samples / "adult-2-no-finding-monochrome1.dcm"
    report = chestx.analyze(path, model=classifier)
    radiograph = chestx.read_radiograph(path)
    assert isinstance(report, Report)
    assert report.preview is not None
    assert np.array_equal(report.preview, radiograph.pixels)
