"""One image or many through child processes, model and judgement, several at once."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import LifoQueue
from traceback import extract_tb
from types import TracebackType
from typing import TypeVar

from chestx.analysis.batcher import MicroBatcher
from chestx.analysis.clock import StageClock
from chestx.analysis.judgement import add_occlusion_maps, judge_image
from chestx.domain import ChestxError, Failure, Limits, Result, UsageError
from chestx.images.cores import count_usable_cores
from chestx.images.preparation import Preparation, PreparationError, PreparedImage, prepare_image
from chestx.images.worker import Worker, WorkerLimits
from chestx.models.classifier import Classifier
from chestx.models.occlusion import score_evidence

log = logging.getLogger("chestx.analysis")

Source = str | os.PathLike[str] | bytes

T = TypeVar("T")

_THREAD_PREFIX = "chestx-analyze"

PREVIEW_SIZE = 512
"""Long side in pixels of the radiograph that a report carries for its pictures."""


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
        # Whoever leaves a stream early need not know that there are processes to end.
        self._ending = weakref.finalize(self, _end, self._workers, self._batcher)

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
        self._ending()

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


def _end(workers: list[Worker], batcher: MicroBatcher) -> None:
    """Ends threads and child processes, of an analyzer that was closed or that nobody holds."""
    batcher.close()
    for worker in workers:
        worker.close()


def _check_range(name: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise UsageError(f"{name}: expected {low} to {high}, got {value}")
