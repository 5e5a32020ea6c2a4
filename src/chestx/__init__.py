"""chestx: a second reader for chest radiographs.

Research use only. Not a cleared medical device. A physician must read every image.

Example:
    >>> import chestx
    >>> model = chestx.load_model()
    >>> for result in chestx.analyze_files(["a.png", "b.dcm"], model=model):
    ...     print(result.source, result.decision)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chestx.analysis import Analyzer as Analyzer
    from chestx.analysis import ResultStream as ResultStream
    from chestx.analysis import analyze as analyze
    from chestx.analysis import analyze_files as analyze_files
    from chestx.domain import CAVEAT as CAVEAT
    from chestx.domain import ChestxError as ChestxError
    from chestx.domain import Decision as Decision
    from chestx.domain import Failure as Failure
    from chestx.domain import InvalidModelError as InvalidModelError
    from chestx.domain import Limits as Limits
    from chestx.domain import Radiograph as Radiograph
    from chestx.domain import Report as Report
    from chestx.domain import UnreadableImageError as UnreadableImageError
    from chestx.images.reading import read_radiograph as read_radiograph
    from chestx.models.classifier import Classifier as Classifier
    from chestx.models.classifier import load_model as load_model
    from chestx.rendering.overlay import draw_overlay as draw_overlay

__version__ = "0.1.0"

# Name -> module. Nothing is imported before it is asked for: `chestx --help` needs none of it.
_PUBLIC = {
    "Analyzer": "chestx.analysis",
    "ResultStream": "chestx.analysis",
    "analyze": "chestx.analysis",
    "analyze_files": "chestx.analysis",
    "CAVEAT": "chestx.domain",
    "ChestxError": "chestx.domain",
    "Decision": "chestx.domain",
    "Failure": "chestx.domain",
    "InvalidModelError": "chestx.domain",
    "Limits": "chestx.domain",
    "Radiograph": "chestx.domain",
    "Report": "chestx.domain",
    "UnreadableImageError": "chestx.domain",
    "read_radiograph": "chestx.images.reading",
    "Classifier": "chestx.models.classifier",
    "load_model": "chestx.models.classifier",
    "draw_overlay": "chestx.rendering.overlay",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'chestx' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
