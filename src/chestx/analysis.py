"""The use case: a path or bytes in, a report or a failure out.

Batch, notebook and servers all go through :class:`Analyzer`. Files are decoded in
child processes, each of which can be killed alone; the model runs in this process, on
whatever images are ready together. Nothing an image does can end the run: what goes
wrong with it becomes its :class:`~chestx.domain.Failure`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from queue import Empty, LifoQueue, SimpleQueue
from traceback import extract_tb
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from chestx.domain import (
    ChestxError,
    Failure,
    Limits,
    Prediction,
    Report,
    Result,
    UsageError,
)
from chestx.export.table import Row, to_result_row
from chestx.images.worker import (
    Preparation,
    PreparationError,
    PreparedImage,
    Worker,
    WorkerLimits,
    prepare_image,
)
from chestx.models.classifier import Classifier, to_findings
from chestx.models.occlusion import SERVED_GRID, Score, compute_occlusion_maps, score_evidence
from chestx.models.runtime import count_usable_cores
from chestx.models.scope import assess_scope
from chestx.shapes import UInt8
from chestx.terminology import choose_shown_label, decide_image, interpret

if TYPE_CHECKING:
    import pandas

log = logging.getLogger(__name__)

Source = str | os.PathLike[str] | bytes
T = TypeVar("T")

_THREAD_PREFIX = "chestx-analyze"

PREVIEW_SIZE = 512
"""Long side in pixels of the radiograph that a report carries for its pictures."""


class StageClock:
    """Wall and processor time by stage, summed over threads and child processes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._cpu_seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Adds the time of the block to a stage, also where the block raises."""
        start, cpu_start = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start, time.thread_time() - cpu_start)

    def add(self, stage: str, seconds: float, cpu_seconds: float) -> None:
        """Adds time that was measured elsewhere."""
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
            self._cpu_seconds[stage] = self._cpu_seconds.get(stage, 0.0) + cpu_seconds

    @property
    def seconds(self) -> dict[str, float]:
        """Stage -> wall time so far, waiting included."""
        with self._lock:
            return dict(self._seconds)

    @property
    def cpu_seconds(self) -> dict[str, float]:
        """Stage -> processor time so far of the threads that ran it.

        The model computes on threads of its runtime, so ``infer`` holds hardly any.
        """
        with self._lock:
            return dict(self._cpu_seconds)


def judge_image(
    image: PreparedImage, prediction: Prediction, *, classifier: Classifier, source: str = ""
) -> Report:
    """Turns the numbers of one forward pass into the answer for its image.

    Args:
        image: as it was prepared.
        prediction: the model's numbers for it.
        classifier: the model that gave them.
        source: the path as it was given.
    """
    card = classifier.card
    distance = classifier.measure_distance(prediction.embedding)
    reasons, flags = assess_scope(card, image.header, image.quality, distance=distance)
    findings, any_finding = to_findings(card, prediction.probabilities)
    decision = decide_image(findings, any_finding, scope_reasons=reasons)
    has_maps = card.heatmap == "cam"
    return Report(
        source=source,
        sha256=image.sha256,
        header=image.header,
        model=classifier.identity,
        decision=decision,
        findings=findings,
        any_finding=any_finding,
        probabilities={
            label.key: float(p)
            for label, p in zip(card.labels, prediction.probabilities, strict=True)
        },
        scope_reasons=reasons,
        flags=flags,
        interpretation=interpret(findings, any_finding, scope_reasons=reasons),
        distance=distance,
        shown_label=choose_shown_label(findings) if decision.is_assessed and has_maps else "",
        map_scales={label.key: label.map_scale for label in card.labels},
        logits=prediction.logits,
        embedding=prediction.embedding,
        maps=prediction.maps if has_maps else None,
        preview=image.preview,
        pixel_sha256=image.pixel_sha256,
    )


def add_occlusion_maps(
    report: Report, pixels: UInt8[np.ndarray, "size size"], *, score: Score
) -> Report:
    """The report with maps that hide parts of the image, and the finding whose map is shown.

    It runs the network SERVED_GRID squared times and once more.

    Args:
        report: of an assessed image.
        pixels: model input.
        score: evidence of the model that made the report.
    """
    return replace(
        report,
        maps=compute_occlusion_maps(score, pixels, grid=SERVED_GRID),
        shown_label=choose_shown_label(report.findings),
    )


class MicroBatcher:
    """Runs the model on whatever inputs are waiting; none waits for others to come.

    Args:
        classifier: the model.
        batch_size: the most inputs of one call.
        threads: how many calls run at once.
    """

    def __init__(self, classifier: Classifier, *, batch_size: int, threads: int) -> None:
        self._classifier = classifier
        self._batch_size = batch_size
        self._waiting: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"chestx-infer-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def predict(self, pixels: UInt8[np.ndarray, "size size"]) -> Prediction:
        """The model's numbers for one input; returns when they are there.

        Raises:
            ChestxError: the model gave no usable number for this input.
        """
        return self.predict_all(pixels[None])[0]

    def predict_all(self, pixels: UInt8[np.ndarray, "batch size size"]) -> list[Prediction]:
        """The model's numbers for several inputs; returns when all are there.

        Raises:
            ChestxError: the model gave no usable number for one of them.
        """
        futures: list[Future[Prediction]] = [Future() for _ in pixels]
        for row, future in zip(pixels, futures, strict=True):
            self._waiting.put(_Waiting(row, future))
        return [future.result() for future in futures]

    def close(self) -> None:
        """Ends the threads after what is waiting."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            while len(batch) < self._batch_size:
                try:
                    item = self._waiting.get_nowait()
                except Empty:
                    break
                if item is None:
                    # The end is for one thread: this one takes it after its batch.
                    self._waiting.put(None)
                    break
                batch.append(item)
            self._run(batch)

    def _run(self, batch: list[_Waiting]) -> None:
        try:
            predictions = self._classifier.predict(np.stack([item.pixels for item in batch]))
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            # One input must not cost its neighbours their answer.
            for item in batch:
                self._run([item])
            return
        for item, prediction in zip(batch, predictions, strict=True):
            item.future.set_result(prediction)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    pixels: UInt8[np.ndarray, "size size"]
    future: Future[Prediction]


class Analyzer:
    """Answers for images, several at once. Use it as a context manager.

    Args:
        classifier: the model.
        workers: child processes that decode; None for one a usable core. 0 decodes in this
            process, where a broken file can crash a library and with it the whole program.
        threads: calls of the model at once; None for one a usable core.
        batch_size: the most images of one call of the model.
        preview_size: long side in pixels of the report's preview, 0 for none.
        occlusion_maps: whether a model whose card says ``occlusion`` makes maps for the
            assessed images that have a preview. That takes dozens of forward passes an
            image; maps of other models come with the answer.
        pixel_digest: whether a report carries a checksum of the shown pixels, which the
            identity of a result in DICOM needs.
        reduced_jpeg2000: whether JPEG 2000 is decoded only as fine as the model and the preview
            need, which is several times as fast; such images carry a note.
        limits: what one input may cost.
        worker_limits: memory and time that one file may take in its child.

    Raises:
        UsageError: a number out of range.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        workers: int | None = None,
        threads: int | None = None,
        batch_size: int = 8,
        preview_size: int = PREVIEW_SIZE,
        occlusion_maps: bool = True,
        pixel_digest: bool = False,
        reduced_jpeg2000: bool = False,
        limits: Limits | None = None,
        worker_limits: WorkerLimits | None = None,
    ) -> None:
        _check_range("workers", workers, 0, 256)
        _check_range("threads", threads, 1, 256)
        _check_range("batch size", batch_size, 1, 1024)
        if pixel_digest and reduced_jpeg2000:
            raise UsageError("a checksum of the shown pixels needs all of them, not reduced ones")
        self.classifier = classifier
        self.clock = StageClock()
        self._preparation = Preparation(
            input=classifier.card.input,
            preview_size=preview_size,
            limits=limits or Limits(),
            pixel_digest=pixel_digest,
            reduced_jpeg2000=reduced_jpeg2000,
        )
        threads = count_usable_cores() if threads is None else threads
        count = count_usable_cores() if workers is None else workers
        self._workers = [Worker(self._preparation, worker_limits) for _ in range(count)]
        # Last in, first out: a few files do not start more children than they need.
        self._idle: LifoQueue[Worker] = LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._batcher = MicroBatcher(classifier, batch_size=batch_size, threads=threads)
        self._hides = occlusion_maps and classifier.card.heatmap == "occlusion"
        self._score = score_evidence(classifier, predict=self._batcher.predict_all)
        # While some images are decoded, others are in the model or being drawn.
        self._in_work = count + threads + 1
        self._pool = ThreadPoolExecutor(self._in_work, thread_name_prefix=_THREAD_PREFIX)
        self._is_closed = self._is_stopping = False

    def __enter__(self) -> Analyzer:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self.stop()
        self.close()

    def stop(self) -> None:
        """Ends the child processes at once, so that closing need not wait for a slow file."""
        self._is_stopping = True
        for worker in self._workers:
            worker.kill()

    def close(self) -> None:
        """Drops what has not begun, waits for what has, and ends the child processes."""
        if self._is_closed:
            return
        self._is_closed = True
        self._pool.shutdown(cancel_futures=True)
        self._batcher.close()
        for worker in self._workers:
            worker.close()

    def analyze(self, source: Source) -> Result:
        """One image, in the calling thread.

        Args:
            source: a path, or the bytes of a file.

        Returns:
            A report, or a failure with the reason; an image never raises.
        """
        if self._is_closed and not threading.current_thread().name.startswith(_THREAD_PREFIX):
            raise RuntimeError("this Analyzer is closed")
        name = "" if isinstance(source, bytes) else os.fspath(source)
        sha256 = ""
        try:
            image = self._prepare(source if isinstance(source, bytes) else name)
            sha256 = image.sha256
            with self.clock.measure("infer"):
                prediction = self._batcher.predict(image.pixels)
            with self.clock.measure("judge"):
                report = judge_image(image, prediction, classifier=self.classifier, source=name)
            if self._hides and image.preview is not None and report.decision.is_assessed:
                with self.clock.measure("occlude"):
                    report = add_occlusion_maps(report, image.pixels, score=self._score)
            return report
        except PreparationError as error:
            return Failure(source=name, reason=str(error), sha256=error.sha256, header=error.header)
        except ChestxError as error:
            return Failure(source=name, reason=str(error), sha256=sha256)
        except MemoryError:
            return Failure(
                source=name, reason="there is not enough memory to read this image", sha256=sha256
            )
        except Exception as error:
            # One image must not end the run of the others. Where it happened is logged, not the
            # error's text, which may quote the file and so the patient.
            kind = type(error).__name__
            frames = [f"{frame.name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
            log.error(
                "an image met an error that nobody foresaw: %s in %s",
                kind,
                " > ".join(frames),
                extra={"fields": {"sha256": sha256}},
            )
            return Failure(source=name, reason=f"internal error: {kind}", sha256=sha256)

    def submit(self, source: Source) -> Future[Result]:
        """One image in a thread of the pool; the future never raises for an image's sake."""
        return self._pool.submit(self.analyze, source)

    def stream(
        self, sources: Iterable[Source], *, finish: Callable[[int, Result], T]
    ) -> Generator[T, None, None]:
        """Many images, in input order, with a bounded number in memory.

        Args:
            sources: taken as they are needed.
            finish: is called with position and result in the image's thread.

        Yields:
            What ``finish`` returned, in input order.
        """
        waiting: deque[Future[T]] = deque()
        ahead = 4 * self._in_work
        try:
            for position, source in enumerate(sources):
                waiting.append(self._pool.submit(self._finish_one, position, source, finish))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _finish_one(self, position: int, source: Source, finish: Callable[[int, Result], T]) -> T:
        return finish(position, self.analyze(source))

    def _prepare(self, source: str | bytes) -> PreparedImage:
        if not self._workers:
            image = prepare_image(source, self._preparation)
        else:
            worker = self._idle.get()
            try:
                if self._is_stopping:
                    raise PreparationError("the run was stopped before this file was read")
                image = worker.prepare(source)
            finally:
                self._idle.put(worker)
        for stage, seconds in image.seconds.items():
            self.clock.add(stage, seconds, image.cpu_seconds[stage])
        return image


def _check_range(name: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise UsageError(f"{name}: expected {low} to {high}, got {value}")


class ResultStream(Iterator[Result]):
    """The results of :func:`analyze_files`, one by one as they are ready."""

    def __init__(self, analyzer: Analyzer, sources: Iterable[Source]) -> None:
        self._analyzer = analyzer
        self._results = analyzer.stream(sources, finish=lambda _, result: result)

    def __next__(self) -> Result:
        try:
            return next(self._results)
        except BaseException:
            # At the end, and where the sources or the caller's interrupt raised.
            self.close()
            raise

    def __enter__(self) -> ResultStream:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends early: what has not begun is dropped."""
        self._results.close()
        self._analyzer.close()

    def to_rows(self) -> list[Row]:
        """What is left of the stream as the rows of ``results.csv``."""
        identity = self._analyzer.classifier.identity
        return [to_result_row(result, identity=identity) for result in self]

    def to_pandas(self) -> pandas.DataFrame:
        """What is left of the stream as a table with the columns of ``results.csv``.

        Probabilities, distance and age are numbers; everything else is text.

        Raises:
            ImportError: where pandas is not installed.
        """
        import pandas

        from chestx.export.table import list_result_columns

        columns = list_result_columns(self._analyzer.classifier.card)
        frame = pandas.DataFrame(self.to_rows(), columns=list(columns)).fillna("")
        numeric = [name for name in columns if name.startswith("probability_")]
        for name in [*numeric, "distance", "age", "rows", "columns"]:
            frame[name] = pandas.to_numeric(frame[name])
        return frame


def analyze(
    source: Source,
    *,
    model: Classifier | None = None,
    preview_size: int = PREVIEW_SIZE,
    limits: Limits | None = None,
) -> Result:
    """One image: a path or the bytes of a PNG, JPEG, TIFF, BMP or DICOM file.

    It is decoded in this process: a child would take longer to start than an image to read.

    Args:
        source: a path or bytes.
        model: from :func:`chestx.load_model`; None for the default model.
        preview_size: long side in pixels of the report's preview, 0 for none.
        limits: what the file may cost.

    Returns:
        A :class:`~chestx.domain.Report`, or a :class:`~chestx.domain.Failure` with the reason.
    """
    with Analyzer(
        model or Classifier.load(threads=1),
        workers=0,
        threads=1,
        preview_size=preview_size,
        limits=limits,
    ) as analyzer:
        return analyzer.analyze(source)


def analyze_files(
    sources: Iterable[Source],
    *,
    model: Classifier | None = None,
    workers: int | None = None,
    threads: int | None = None,
    preview_size: int = PREVIEW_SIZE,
    limits: Limits | None = None,
    worker_limits: WorkerLimits | None = None,
) -> ResultStream:
    """Many images, several at once, in input order and bounded memory.

    Args:
        sources: paths or bytes; may be a generator.
        model: from :func:`chestx.load_model`; None for the default model.
        workers, threads, preview_size, limits, worker_limits: of :class:`Analyzer`.

    Returns:
        An iterator of results; ``.to_pandas()`` makes a table of it.
    """
    if isinstance(sources, str | bytes | os.PathLike):
        raise TypeError("expected a list of paths, got one; use chestx.analyze for one image")
    analyzer = Analyzer(
        model or Classifier.load(threads=threads),
        workers=workers,
        threads=threads,
        preview_size=preview_size,
        limits=limits,
        worker_limits=worker_limits,
    )
    return ResultStream(analyzer, sources)
