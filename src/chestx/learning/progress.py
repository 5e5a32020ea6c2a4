"""Where a run is and how it went; all of it goes into the checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from chestx.learning.validation import ValidationFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One pass.

    Attributes:
        epoch: from 1.
        train_loss: mean over its steps, of every process.
        learning_rate: of the head at its end.
        seconds: wall time, validation included.
        figures: on the validation images.
        is_best: whether its weights are the best so far.
    """

    epoch: int
    train_loss: float
    learning_rate: float
    seconds: float
    figures: ValidationFigures
    is_best: bool


@dataclass(slots=True)
class Progress:
    """Where a run is.

    Attributes:
        epoch, step: passes that are done, and steps of the one that is not.
        rate_factor: of the schedule ``plateau``.
        best, best_epoch: monitored figure, higher is better.
        loss_sum: of the steps of the pass that is not done.
        seconds: spent on it.
        history: passes that are done.
    """

    epoch: int = 0
    step: int = 0
    rate_factor: float = 1.0
    best: float = -math.inf
    best_epoch: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    history: list[EpochRecord] = field(default_factory=list)

    def to_table(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_table(cls, values: dict[str, Any]) -> Progress:
        """What :meth:`to_table` gave."""
        history = [
            EpochRecord(**{**item, "figures": ValidationFigures(**item["figures"])})
            for item in values["history"]
        ]
        return cls(**{**values, "history": history})

    def take_over(self, other: Progress) -> None:
        """Becomes equal to another one."""
        for item in fields(self):
            setattr(self, item.name, getattr(other, item.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What is shown while a run is at work.

    Attributes:
        epoch, epochs: the pass that is under way, from 1, and all of them.
        step, steps: those of the pass that are done, and all of them.
        loss: of the last step.
        images_per_second: of this pass, every process together.
        seconds_left: of the whole run at this speed, had no pass a validation.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_second: float
    seconds_left: float
