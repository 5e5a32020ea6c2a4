"""What the figures cost to have."""

from __future__ import annotations

import subprocess
import sys

import chestx.metrics


def test_figures_need_numpy_alone() -> None:
    code = (
        "import sys, chestx.metrics; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'scipy', 'sklearn', 'matplotlib', 'torch', 'pandas', 'cv2', 'openvino', 'PIL'}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_every_exported_name_is_there() -> None:
    assert sorted(chestx.metrics.__all__) == chestx.metrics.__all__
    assert all(hasattr(chestx.metrics, name) for name in chestx.metrics.__all__)
