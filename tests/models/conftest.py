"""Model folders to try things on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chestx.domain import (
    Activation,
    Figure,
    InputSpec,
    Label,
    LabelRole,
    ModelCard,
    OperatingPoint,
    ScopeSpec,
)
from chestx.models.card import card_to_json
from chestx.models.folder import resolve_model


@pytest.fixture
def card() -> ModelCard:
    """A card with three labels that uses every field."""
    return ModelCard(
        format_version=1,
        name="try-out",
        version="2.1",
        summary="A card for tests.",
        labels=(
            Label(key="NORMAL", display="no finding", role=LabelRole.NO_FINDING, map_scale=3.5),
            Label(
                key="PNEUMONIA",
                display="pneumonia",
                operating_point=OperatingPoint(0.4, 0.2, 0.6),
                map_scale=7.0,
            ),
            Label(
                key="COVID19",
                display="COVID-19 features",
                operating_point=OperatingPoint(0.3, 0.3, 0.3),
                caveat="experimental | see limits",
            ),
        ),
        activation=Activation.SOFTMAX,
        temperature=0.8,
        input=InputSpec(size=224),
        heatmap="cam",
        any_finding=OperatingPoint(0.5, 0.25, 0.75),
        scope=ScopeSpec(
            modalities=("CR", "DX"),
            views=("PA", "AP"),
            min_age_years=1.0,
            max_age_years=90.0,
            max_distance=2.5,
        ),
        embedding_size=1280,
        intended_use="Tests.",
        not_looked_for="Everything else.",
        licence="None.",
        files={},
        limitations=("It knows nothing.",),
        performance=(
            Figure(
                name="AUROC",
                subject="1 - P(NORMAL)",
                data="some images",
                value=0.9,
                n=10,
                low=0.8,
                high=0.95,
                note="flatters",
            ),
            Figure(name="accuracy", subject="all", data="some images", value=0.7, n=10),
        ),
        training={"epochs": 5, "data": ["a", "b"], "counts": {"a": 1}},
    )


@pytest.fixture
def write_folder(tmp_path: Path, card: ModelCard) -> Callable[..., Path]:
    """Writes a whole model folder with small files; what is given replaces or adds files."""

    def write(
        name: str = "try-out-folder", *, named: str = "try-out", **contents: bytes | None
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        np.savez(folder / "reference.npz", mean=np.zeros(4, np.float32))
        (folder / "model.onnx").write_bytes(b"graph")
        (folder / "README.md").write_text("read me", encoding="utf-8")
        (folder / "LICENSE").write_text("licence", encoding="utf-8")
        for file, data in contents.items():
            path = folder / file.replace("__", ".")
            path.unlink(missing_ok=True)
            if data is not None:
                path.write_bytes(data)
        files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
        }
        text = card_to_json(replace(card, name=named, files=files))
        (folder / "card.json").write_text(text, encoding="utf-8")
        return folder

    return write


@pytest.fixture(scope="session")
def default_folder() -> Path:
    """The model that the package carries."""
    return resolve_model()
