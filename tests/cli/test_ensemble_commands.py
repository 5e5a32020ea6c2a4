"""``chestx model join``, and what its models do in the other commands."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from chestx.cli.app import run
from chestx.domain import CAVEAT
from chestx.models.folder import load_model_folder


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "mirrored"
    options = ["--views", "plain,flip", "--name", "mirrored", "--version", "7"]
    assert run(["model", "join", "default", "-o", str(out), *options]) == 0
    return out


def test_a_joined_model_is_shown_and_verified(
    joined: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["model", "verify", str(joined)]) == 0
    assert "mirrored 7 (" in capsys.readouterr().out
    assert run(["model", "show", str(joined)]) == 0
    assert "each asked about the views plain, flip" in " ".join(capsys.readouterr().out.split())
    assert (
        run(["model", "join", "default", "-o", str(tmp_path / "x"), "--views", "plain,zoom"]) == 0
    )
    said = capsys.readouterr().out
    assert "member chestx-default" in said
    assert "chestx-default-ensemble 1" in said
    assert CAVEAT in said


def test_a_joined_model_predicts(joined: Path, samples: Path, tmp_path: Path) -> None:
    arguments = ["predict", str(samples / "adult-3-pneumonia.jpg"), "--model", str(joined)]
    assert run([*arguments, "-o", str(tmp_path / "out"), "--heatmaps", "--workers", "1"]) == 0
    with (tmp_path / "out" / "results.csv").open(newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert load_model_folder(joined).identity.checksum.startswith(row["model_checksum"][:12])
    assert row["decision_PNEUMONIA"] == "uncertain"
    assert (tmp_path / "out" / row["heatmap"]).is_file()


def test_a_joined_model_is_calibrated_and_measured(
    joined: Path, cxr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(cxr / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dev_split"] == "val"]
    manifest = tmp_path / "site.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "source", "group"])
        for label in ("NORMAL", "PNEUMONIA", "COVID19"):
            for row in [row for row in rows if row["label"] == label][:18]:
                writer.writerow(
                    [cxr / row["file"], label, "validation", row["data_set"], row["split_group"]]
                )
    new = tmp_path / "new"
    rules = ["--threshold", "youden", "--abstain", "none", "--workers", "1"]
    assert run(["calibrate", str(joined), str(manifest), "-o", str(new), *rules]) == 0
    assert run(["model", "verify", str(new)]) == 0
    assert sorted(load_model_folder(new).members) == ["1"]
    capsys.readouterr()
    measured = ["evaluate", str(new), str(manifest), "-o", str(tmp_path / "measured")]
    assert run([*measured, "--no-probes"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["default"], "expected 2 to 16 models, or one that sees several views"),
        (["default", "--views", "plain,sideways"], "expected some of plain, flip, zoom"),
        (["default", "--views", "flip,zoom"], "expected plain among them"),
        (["default", "nothing-of-this-name"], "expected the name of a model"),
        (["default", "default"], "it is named twice"),
    ],
)
def test_what_cannot_be_joined_exits_with_two(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["model", "join", *options, "-o", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
