"""Inputs of several images in one call of the model."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np

from chestx.domain import Prediction
from chestx.models.classifier import Classifier
from chestx.shapes import UInt8


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
            # Whoever is the last to let go of an analyzer may be one of them.
            if thread is not threading.current_thread():
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
