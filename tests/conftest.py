"""Shared fixtures; shapes and types of every chestx function are checked while the tests run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from chestx.models.classifier import Classifier

install_import_hook("chestx", "beartype.beartype")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def cxr() -> Path:
    """The folder of labelled real radiographs (``manifest.csv``, ``images``, ``originals``)."""
    folder = Path(os.environ.get("CHESTX_CXR", ROOT.parent / "shared" / "cxr"))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"no radiographs for development at {folder}; set CHESTX_CXR")
    return folder


@pytest.fixture(scope="session")
def samples() -> Path:
    """The radiographs that the project ships."""
    return ROOT / "examples" / "samples"


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The shipped model, ready to run."""
    from chestx.models.classifier import Classifier

    return Classifier.load(threads=2)
