"""Answers without an :class:`Analyzer` in hand: of one image, or of many one by one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from chestx.analysis.analyzer import PREVIEW_SIZE, Analyzer, Source
from chestx.domain import Limits, Result
from chestx.export.table import Row, to_result_row
from chestx.images.worker import WorkerLimits
from chestx.models.classifier import Classifier

if TYPE_CHECKING:
    import pandas


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
