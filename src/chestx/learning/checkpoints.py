"""What a run needs to go on where it was killed, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from chestx.domain import UsageError

CHECKPOINT = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Writes tensors, numbers and texts; an older checkpoint stays until the new one is safe."""
    # One name for every draft: a run that is killed again and again leaves one of them at most.
    draft = folder / f".{CHECKPOINT}.part"
    with draft.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / CHECKPOINT)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """What :func:`save_checkpoint` wrote; None where nothing was. No code in it is run.

    Raises:
        UsageError: the file is damaged.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise a dozen unrelated types.
        raise UsageError(
            f"{str(path)!r}: expected a checkpoint of chestx, it cannot be read "
            f"({type(error).__name__}); start the run anew in another folder"
        ) from error
    if not isinstance(state, dict) or not {"progress", "state"} <= state.keys():
        raise UsageError(f"{str(path)!r}: expected a checkpoint of chestx, got another object")
    return state
