"""What importing and starting costs, and what it never brings along."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import chestx

HEAVY = ("torch", "torchvision", "timm", "onnx", "pandas", "matplotlib", "scipy")


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_none_of_its_parts() -> None:
    loaded = run_python(
        "import sys, chestx; print([n for n in sys.modules if n.startswith(('chestx.', 'numpy'))])"
    )
    assert loaded.strip() == "[]"


def test_help_loads_no_decoder_and_no_runtime() -> None:
    loaded = run_python(
        "import sys\n"
        "from chestx.cli.app import run\n"
        "assert run(['predict', '--help']) == 0\n"
        "bad = {'cv2', 'pydicom', 'openvino', 'onnxruntime', 'PIL'} & set(sys.modules)\n"
        "print('LOADED', sorted(bad))"
    )
    assert loaded.strip().endswith("LOADED []")


def test_predicting_never_imports_torch_or_other_heavy_parts(samples: Path, tmp_path: Path) -> None:
    loaded = run_python(
        "import sys\n"
        "from chestx.cli.app import run\n"
        f"code = run(['predict', {str(samples)!r}, '-o', {str(tmp_path / 'out')!r}, '-q'])\n"
        "assert code == 3, code\n"
        f"print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    assert loaded.strip() == "LOADED []"


def test_the_version_is_that_of_the_project(repository: Path) -> None:
    text = (repository / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert match is not None
    assert chestx.__version__ == match.group(1)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(chestx, "no_such_name")
    assert set(chestx.__all__) <= set(dir(chestx))


def test_the_licence_check_can_fail(repository: Path) -> None:
    code = (
        "import runpy, sys\n"
        f"found = runpy.run_path({str(repository / 'scripts' / 'check_licences.py')!r})\n"
        "names = ['GPLv3', 'LGPL-2.1', 'GNU Affero General Public License v3', 'MIT', 'MPL-2.0']\n"
        "items = [{'Name': n, 'Version': '1', 'License': n} for n in names]\n"
        "print(len(found['find_refused'](items)))"
    )
    assert run_python(code).strip() == "3"
