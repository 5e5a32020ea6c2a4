"""Many images prepared in child processes, in order, with a bounded number in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import LifoQueue

from chestx.domain import UsageError
from chestx.images.cores import count_usable_cores
from chestx.images.preparation import Preparation, PreparationError, PreparedImage, prepare_image
from chestx.images.worker import Worker, WorkerLimits

Prepared = PreparedImage | PreparationError

MAX_WORKERS = 256

_AHEAD = 4
"""Images in work or waiting to be taken, a worker; one slow file does not stop the others."""


def prepare_images(
    paths: Iterable[str],
    preparation: Preparation,
    *,
    workers: int | None = None,
    worker_limits: WorkerLimits | None = None,
) -> Generator[Prepared, None, None]:
    """Reads, judges and preprocesses files, several at once.

    The children are ended when the last image was taken, when the iterator is closed and
    when it raises, also for an interrupt.

    Args:
        paths: taken as they are needed.
        preparation: what is made of each file.
        workers: child processes; None for one a usable core. 0 decodes in this process,
            where a broken file can crash a library and with it the whole program.
        worker_limits: memory and time that one file may take in its child.

    Yields:
        In the order of the paths, the image or why there is none; a file never raises.

    Raises:
        UsageError: the number of workers is out of range.
    """
    if workers is not None and not 0 <= workers <= MAX_WORKERS:
        raise UsageError(f"workers: expected 0 to {MAX_WORKERS}, got {workers}")
    count = count_usable_cores() if workers is None else workers
    if not count:
        return (_prepare_here(path, preparation) for path in paths)
    return _prepare_in_children(paths, [Worker(preparation, worker_limits) for _ in range(count)])


def _prepare_here(path: str, preparation: Preparation) -> Prepared:
    try:
        return prepare_image(path, preparation)
    except PreparationError as error:
        return error


def _prepare_in_children(
    paths: Iterable[str], workers: list[Worker]
) -> Generator[Prepared, None, None]:
    # Last in, first out: a few files do not start more children than they need.
    idle: LifoQueue[Worker] = LifoQueue()
    for worker in workers:
        idle.put(worker)

    def prepare(path: str) -> Prepared:
        worker = idle.get()
        try:
            return worker.prepare(path)
        except PreparationError as error:
            return error
        finally:
            idle.put(worker)

    waiting: deque[Future[Prepared]] = deque()
    pool = ThreadPoolExecutor(len(workers), thread_name_prefix="chestx-prepare")
    try:
        for path in paths:
            waiting.append(pool.submit(prepare, path))
            if len(waiting) >= _AHEAD * len(workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        # What is in work fails at once instead of being waited for.
        for worker in workers:
            worker.kill()
        pool.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()
