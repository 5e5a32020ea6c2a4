"""What torch says of a run that cannot be, in words that help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from chestx.domain import ChestxError, UsageError
from chestx.learning.config import TrainConfig


@contextmanager
def explain_faults(config: TrainConfig) -> Iterator[None]:
    """Turns errors that a user can do something about into such as say what.

    Raises:
        UsageError: the configuration asks for what cannot be computed.
        ChestxError: the memory does not suffice, or another process ended.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ChestxError(_say_too_big(config)) from error
    except (RuntimeError, ValueError) as error:
        explained = _explain(str(error), config)
        if explained is None:
            raise
        raise explained from error


def _explain(text: str, config: TrainConfig) -> ChestxError | None:
    """None for what nobody foresaw."""
    if "can't allocate memory" in text:
        return ChestxError(_say_too_big(config))
    if "Connection closed by peer" in text or "Connection reset by peer" in text:
        return ChestxError("another process of this run ended; its own message says why")
    if "more than 1 value per channel" in text:
        return UsageError(
            f"batch_size: expected at least 2 where size {config.size} leaves a map of one pixel, "
            f"got {config.batch_size}; batch normalisation has nothing to average"
        )
    if "does not have a deterministic implementation" in text:
        return UsageError(f"deterministic: {text.splitlines()[0]:.200}; set deterministic = false")
    return None


def _say_too_big(config: TrainConfig) -> str:
    return (
        f"there is not enough memory for steps of {config.batch_size} images; "
        "make batch_size smaller and accumulation larger by the same factor"
    )
