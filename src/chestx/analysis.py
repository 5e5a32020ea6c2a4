"""The use case: a path or bytes in, a report or a failure out.

Batch, notebook and servers all go through :class:`Analyzer`. Every image walks
the same road in one thread (read, preprocess, infer, judge); several walk at
once. Nothing an image does can end the run: what goes wrong with it becomes its
:class:`~chestx.domain.Failure`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from traceback import extract_tb
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from chestx.domain import (
    ChestxError,
    Decision,
    Failure,
    Limits,
    Prediction,
    Radiograph,
    Report,
    Result,
    UnreadableImageError,
)
from chestx.export.table import Row, to_result_row
from chestx.images.preprocessing import preprocess, resize_to_fit
from chestx.images.quality import assess_quality
from chestx.images.reading import decode_radiograph, load_bytes
from chestx.models.classifier import Classifier, to_findings
from chestx.models.runtime import count_usable_cores
from chestx.models.scope import assess_scope
from chestx.terminology import choose_shown_label, decide_image, interpret

if TYPE_CHECKING:
    import pandas

log = logging.getLogger(__name__)

Source = str | os.PathLike[str] | bytes
T = TypeVar("T")

PREVIEW_SIZE = 512
"""Long side in pixels of the radiograph that a report carries for its pictures."""


class StageClock:
    """Seconds spent by stage, summed over threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Adds the time of the block to a stage, also where the block raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            with self._lock:
                self._seconds[stage] = self._seconds.get(stage, 0.0) + elapsed

    @property
    def seconds(self) -> dict[str, float]:
        """Stage -> seconds so far."""
        with self._lock:
            return dict(self._seconds)


def judge_radiograph(
    radiograph: Radiograph,
    prediction: Prediction,
    *,
    classifier: Classifier,
    source: str = "",
    sha256: str = "",
    preview_size: int = PREVIEW_SIZE,
) -> Report:
    """Turns the numbers of one forward pass into the answer for its image.

    Args:
        radiograph: as read.
        prediction: the model's numbers for it.
        classifier: the model that gave them.
        source, sha256: what is written down about the file.
        preview_size: long side of the preview in pixels, 0 for none.
    """
    card = classifier.card
    quality = assess_quality(radiograph)
    distance = classifier.measure_distance(prediction.embedding)
    reasons, flags = assess_scope(card, radiograph.header, quality, distance=distance)
    findings, any_finding = to_findings(card, prediction.probabilities)
    decision = decide_image(findings, any_finding, scope_reasons=reasons)
    return Report(
        source=source,
        sha256=sha256,
        header=radiograph.header,
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
        shown_label="" if decision is Decision.OUT_OF_SCOPE else choose_shown_label(findings),
        map_scales={label.key: label.map_scale for label in card.labels},
        maps=prediction.maps if card.heatmap == "cam" else None,
        preview=resize_to_fit(radiograph.pixels, preview_size) if preview_size else None,
    )


class Analyzer:
    """Answers for images, several at once. Use it as a context manager.

    Args:
        classifier: the model.
        threads: images in work at once; None for one a usable core.
        preview_size: long side in pixels of the report's preview, 0 for none.
        limits: what one input may cost.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        threads: int | None = None,
        preview_size: int = PREVIEW_SIZE,
        limits: Limits | None = None,
    ) -> None:
        self.classifier = classifier
        self.clock = StageClock()
        self._limits = limits or Limits()
        self._preview_size = preview_size
        self._threads = threads or count_usable_cores()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="chestx-analyze")

    def __enter__(self) -> Analyzer:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drops what has not begun and waits for what has."""
        self._pool.shutdown(cancel_futures=True)

    def analyze(self, source: Source) -> Result:
        """One image in the calling thread.

        Args:
            source: a path, or the bytes of a file.

        Returns:
            A report, or a failure with the reason; an image never raises.
        """
        name = "" if isinstance(source, bytes) else os.fspath(source)
        sha256 = ""
        try:
            with self.clock.measure("read"):
                if not isinstance(source, bytes):
                    source = load_bytes(source, limits=self._limits)
                sha256 = hashlib.sha256(source).hexdigest()
                radiograph = decode_radiograph(source, limits=self._limits)
            return self._answer(radiograph, name, sha256)
        except UnreadableImageError as error:
            return Failure(source=name, reason=str(error), sha256=sha256, header=error.header)
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
        ahead = 4 * self._threads
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

    def _answer(self, radiograph: Radiograph, name: str, sha256: str) -> Report:
        with self.clock.measure("preprocess"):
            pixels = preprocess(radiograph.pixels, self.classifier.card.input)
        with self.clock.measure("infer"):
            prediction = self.classifier.predict(pixels[np.newaxis])[0]
        with self.clock.measure("judge"):
            return judge_radiograph(
                radiograph,
                prediction,
                classifier=self.classifier,
                source=name,
                sha256=sha256,
                preview_size=self._preview_size,
            )


class ResultStream(Iterator[Result]):
    """The results of :func:`analyze_files`, one by one as they are ready."""

    def __init__(self, analyzer: Analyzer, sources: Iterable[Source]) -> None:
        self._analyzer = analyzer
        self._results = analyzer.stream(sources, finish=lambda _, result: result)

    def __next__(self) -> Result:
        try:
            return next(self._results)
        except StopIteration:
            self._analyzer.close()
            raise

    def close(self) -> None:
        """Ends early: what has not begun is dropped."""
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


def analyze(source: Source, *, model: Classifier | None = None, **options: Any) -> Result:
    """One image: a path or the bytes of a PNG, JPEG, TIFF, BMP or DICOM file.

    Args:
        source: a path or bytes.
        model: from :func:`chestx.load_model`; None for the default model.
        options: of :class:`Analyzer`.

    Returns:
        A :class:`~chestx.domain.Report`, or a :class:`~chestx.domain.Failure` with the reason.
    """
    with Analyzer(model or Classifier.load(), threads=1, **options) as analyzer:
        return analyzer.analyze(source)


def analyze_files(
    sources: Iterable[Source], *, model: Classifier | None = None, **options: Any
) -> ResultStream:
    """Many images, several at once, in input order and bounded memory.

    Args:
        sources: paths or bytes; may be a generator.
        model: from :func:`chestx.load_model`; None for the default model.
        options: of :class:`Analyzer`.

    Returns:
        An iterator of results; ``.to_pandas()`` makes a table of it.
    """
    if isinstance(sources, str | bytes | os.PathLike):
        raise TypeError("expected a list of paths, got one; use chestx.analyze for one image")
    return ResultStream(Analyzer(model or Classifier.load(), **options), sources)
