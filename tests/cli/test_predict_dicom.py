"""``chestx predict --dicom`` as a person types it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chestx.cli.app import run

SAMPLE = "adult-2-no-finding-monochrome1.dcm"


def test_objects_are_written_and_summed_up(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox, output = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    for name in (SAMPLE, "child-1-normal.jpg"):
        shutil.copyfile(samples / name, inbox / name)
    # What chestx itself made and somebody put among the images is no radiograph.
    shutil.copyfile(samples / SAMPLE, inbox / "000001_x.sc.dcm")
    command = ["predict", str(inbox), "--dicom", str(inbox / "objects"), "--workers", "0"]
    assert run([*command, "-o", str(output), "--sr", "comprehensive"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert f"DICOM objects in {inbox / 'objects'}/: 1 sc, 1 sr" in said.out
    assert "no object for 1 image: the image is no DICOM image" in said.out
    assert "passed over        1" in said.out
    names = sorted(path.name for path in (inbox / "objects").iterdir())
    assert names == ["000001_adult-2-no-finding-monochrome1.dcm.sc.dcm", "study-000001.sr.dcm"]
    assert run([*command, "-o", str(tmp_path / "two")]) == 2
    error = capsys.readouterr().err
    assert "of an earlier run already" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "two").exists()


def test_without_objects_nothing_of_dicom_is_imported(samples: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from chestx.cli.app import run\n"
        "assert run(sys.argv[1:]) == 0\n"
        "print('LOADED', sorted({'highdicom', 'pydicom'} & set(sys.modules)))"
    )
    arguments = ["predict", samples / "child-1-normal.jpg", "-o", tmp_path / "out",
                 "--workers", "0", "--no-heatmaps", "--no-report"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--objects", "sc"], "--objects and --sr say what goes into --dicom; name its folder"),
        (["--sr", "comprehensive"], "name its folder"),
        (["--dicom", "DIR", "--objects", "sc,seg"], "expected some of sc, sr, gsps, kos"),
        (["--dicom", "DIR", "--objects", ""], "expected some of sc, sr, gsps, kos"),
        (["--dicom", "DIR", "--sr", "basic"], "basic"),
        (["--dicom", "FILE"], "cannot be made"),
        (["--dicom", "FILE/deeper"], "cannot be made"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(
    arguments: list[str],
    says: str,
    samples: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("x")
    names = {"DIR": str(tmp_path / "dcm"), "FILE": str(tmp_path / "file")}
    given = [names.get(x, x).replace("FILE", names["FILE"]) for x in arguments]
    output = tmp_path / "out"
    code = run(["predict", str(samples / SAMPLE), "-o", str(output), *given])
    assert code == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1
    assert not output.exists()
