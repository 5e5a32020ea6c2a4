"""Two processes on loopback learn what one process learns that accumulates their batches."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import chestx
from chestx.learning.training import BEST

pytestmark = pytest.mark.torch

CHILD = """
import sys
from pathlib import Path
from chestx.learning.run import run_training
run = run_training(Path(sys.argv[1]), Path(sys.argv[2]))
print(run.is_first_process, run.progress.best_epoch)
"""

# What draws, what freezes and what clips must agree, too.
MOVES = {
    "epochs": 3,
    "frozen_epochs": 1,
    "freeze_norm": True,
    "dropout": 0.3,
    "augment_noise": 10.0,
    "clip_norm": 1.0,
    "optimizer": "adamw",
    "schedule": "one_cycle",
}


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_processes(config: Path, run: Path, count: int) -> list[subprocess.Popen[str]]:
    """As torchrun starts them, all on this machine."""
    shared = {
        **os.environ,
        "PYTHONPATH": str(Path(chestx.__file__).parents[1]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_port()),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "test",
        "OMP_NUM_THREADS": "1",
    }
    return [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(config), str(run)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]


def test_two_processes_equal_one_that_accumulates(
    data: Path, tmp_path: Path, write_config: Callable[..., Path], train_tiny: Callable[..., Any]
) -> None:
    one = train_tiny(data, batch_size=6, accumulation=2, **MOVES)
    config = write_config(data, batch_size=6, devices=2, **MOVES)
    processes = start_processes(config, tmp_path / "two", 2)
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert [out for out, _ in said] == [
        f"{first} {one.progress.best_epoch}\n" for first in (True, False)
    ]
    alone, together = load_file(one.folder / BEST), load_file(tmp_path / "two" / BEST)
    assert alone.keys() == together.keys()
    for key, value in alone.items():
        assert torch.allclose(value, together[key], rtol=1e-5, atol=1e-7), key
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    for epoch, other in zip(record["history"], one.progress.history, strict=True):
        assert epoch["train_loss"] == pytest.approx(other.train_loss, rel=1e-5)
        assert epoch["learning_rate"] == pytest.approx(other.learning_rate)
        assert epoch["figures"]["loss"] == pytest.approx(other.figures.loss, rel=1e-5)
