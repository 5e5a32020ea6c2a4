"""The commands as a person types them: real processes, their words and exit codes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

from chestx.domain import CAVEAT

Run = subprocess.CompletedProcess[str]


def chestx(
    *arguments: object, text: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from chestx.cli import main; main()", *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def assert_one_line(run: Run, *, code: int, says: str) -> None:
    assert run.returncode == code, run.stderr
    lines = run.stderr.strip().splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("chestx: ")
    assert says in lines[0]


def test_predict_answers_for_a_folder_and_says_where_to_look(samples: Path, tmp_path: Path) -> None:
    run = chestx("predict", samples, "--output", tmp_path / "out")
    assert run.returncode == 3, run.stderr
    assert run.stderr == ""
    assert "12 images, 12 studies" in run.stdout
    assert "failed" in run.stdout
    assert CAVEAT in run.stdout
    assert "model chestx-default" in run.stdout
    assert (tmp_path / "out" / "results.csv").is_file()


def test_predict_ends_with_0_where_every_file_was_read(samples: Path, tmp_path: Path) -> None:
    run = chestx(
        "predict", samples / "child-1-normal.jpg", "-o", tmp_path / "out", "--quiet",
        "--no-heatmaps", "--runtime", "onnxruntime", "--threads", "1",
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_both_runtimes_write_the_same_probabilities(samples: Path, tmp_path: Path) -> None:
    tables = []
    for runtime in ("openvino", "onnxruntime"):
        output = tmp_path / runtime
        chestx("predict", samples, "-o", output, "--runtime", runtime, "--no-heatmaps")
        with open(output / "results.csv", encoding="utf-8", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    for one, other in zip(*tables, strict=True):
        assert one["decision"] == other["decision"]
        for column in one:
            if column.startswith("probability_") and one[column]:
                assert float(one[column]) == pytest.approx(float(other[column]), abs=2e-4)


def test_a_list_on_standard_input_is_taken(samples: Path, tmp_path: Path) -> None:
    text = f"{samples / 'child-1-normal.jpg'}\n{tmp_path / 'missing.png'}\n"
    run = chestx("predict", "-", "-o", tmp_path / "out", "--no-heatmaps", text=text)
    assert run.returncode == 3
    assert "2 images" in run.stdout


def test_json_logs_are_lines_without_paths(samples: Path, tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text(f"{samples / 'other-2-damaged.jpg'}\n")
    run = chestx("predict", listing, "-o", tmp_path / "out", "--log-json", "--quiet")
    events = [json.loads(line) for line in run.stderr.splitlines()]
    assert [event["message"] for event in events] == [
        "started",
        "a file could not be read",
        "finished",
    ]
    assert events[1]["row"] == 1
    assert "damaged" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["predict"], "Missing"),
        (["predict", "/nowhere/at-all", "-o", "OUT"], "there is no such file or folder"),
        (["predict", "SAMPLE", "-o", "OUT", "--threads", "0"], "threads: expected 1 to 256"),
        (["predict", "SAMPLE", "-o", "OUT", "--threads", "two"], "threads"),
        (["predict", "SAMPLE", "-o", "OUT", "--heatmap-size", "9"], "expected 128 to 4096"),
        (["predict", "SAMPLE", "-o", "OUT", "--heatmap-format", "gif"], "gif"),
        (["predict", "SAMPLE", "-o", "OUT", "--model", "nobody"], "nobody"),
        (["predict", "SAMPLE", "-o", "SAMPLE"], "cannot be made"),
        (["predict", "SAMPLE", "-o", "OUT", "--resume", "--overwrite"], "exclude each other"),
        (["report", "OUT"], "holds no result"),
        (["convert", "SAMPLE", "out.jpg"], "expected a name that ends in .png"),
        (["model", "verify", "nobody"], "nobody"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, samples: Path, tmp_path: Path
) -> None:
    names = {"SAMPLE": str(samples / "child-1-normal.jpg"), "OUT": str(tmp_path / "out")}
    run = chestx(*(names.get(argument, argument) for argument in arguments))
    assert_one_line(run, code=2, says=says)
    assert not (tmp_path / "out").exists()


def test_a_second_run_into_the_same_folder_is_refused(samples: Path, tmp_path: Path) -> None:
    arguments = ["predict", samples / "child-1-normal.jpg", "-o", tmp_path / "out", "-q"]
    assert chestx(*arguments).returncode == 0
    assert_one_line(chestx(*arguments), code=2, says="--overwrite")
    assert chestx(*arguments, "--overwrite").returncode == 0


def test_a_tampered_model_is_refused_with_the_reason(samples: Path, tmp_path: Path) -> None:
    import shutil

    from chestx.models.folder import resolve_model

    folder = tmp_path / "model"
    shutil.copytree(resolve_model(None), folder)
    with open(folder / "model.onnx", "r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    for arguments in (
        ["model", "verify", folder],
        ["predict", samples / "child-1-normal.jpg", "-o", tmp_path / "out", "--model", folder],
    ):
        assert_one_line(chestx(*arguments), code=1, says="model.onnx")
    assert not (tmp_path / "out").exists()


def test_a_model_can_be_listed_shown_and_verified(tmp_path: Path) -> None:
    listed = chestx("model", "list")
    assert listed.returncode == 0
    assert "chestx-default" in listed.stdout
    shown = chestx("model", "show", COLUMNS="100")
    assert shown.returncode == 0
    assert "edition 1" in shown.stdout.lower()
    assert CAVEAT in " ".join(shown.stdout.split())
    verified = chestx("model", "verify")
    assert verified.returncode == 0
    assert "every file is as its card says" in verified.stdout


def test_convert_writes_what_a_reader_sees(samples: Path, tmp_path: Path) -> None:
    from chestx.images.reading import read_radiograph

    source = samples / "adult-2-no-finding-monochrome1.dcm"
    run = chestx("convert", source, tmp_path / "a.png")
    assert run.returncode == 0, run.stderr
    assert "MONOCHROME1" in run.stdout
    assert CAVEAT in run.stdout
    pixels = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    assert (pixels == read_radiograph(source).pixels).all()
    again = chestx("convert", source, tmp_path / "a.png")
    assert_one_line(again, code=2, says="is there already")
    broken = chestx("convert", samples / "other-2-damaged.jpg", tmp_path / "b.png")
    assert_one_line(broken, code=1, says="JPEG")
    assert not (tmp_path / "b.png").exists()


def test_convert_never_replaces_its_source_or_follows_a_link(samples: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes((samples / "child-2-normal.png").read_bytes())
    before = picture.read_bytes()
    assert_one_line(chestx("convert", picture, picture, "--overwrite"), code=2, says="the source")
    assert picture.read_bytes() == before
    beside = tmp_path / "b.png.part"
    beside.write_bytes(before)
    assert chestx("convert", beside, tmp_path / "b.png").returncode == 0
    assert beside.read_bytes() == before
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "elsewhere.png")
    assert_one_line(chestx("convert", picture, link), code=2, says="is there already")
    assert chestx("convert", picture, link, "--overwrite").returncode == 0
    assert not link.is_symlink()
    assert not (tmp_path / "elsewhere.png").exists()


def test_what_was_passed_over_is_said_and_written_down(samples: Path, tmp_path: Path) -> None:
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "a.png").write_bytes((samples / "child-2-normal.png").read_bytes())
    (inbox / "Thumbs.db").write_bytes(b"x")
    run = chestx("predict", inbox, "-o", tmp_path / "out", "--no-heatmaps", "--no-report")
    assert "1 image, 1 study" in run.stdout
    assert "passed over        1" in run.stdout
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["counts"]["skipped"] == 1


@pytest.mark.parametrize("redirection", ["| true", ">&-", "> /dev/full", "> /dev/null 2>&-"])
def test_an_output_that_nobody_reads_does_not_change_the_exit_code(
    samples: Path, tmp_path: Path, redirection: str
) -> None:
    program = f"{sys.executable} -c 'from chestx.cli import main; main()'"
    command = f"{program} predict {samples} -o {tmp_path / 'out'} --no-heatmaps --no-report"
    shell = f"set -o pipefail; {command} {redirection}"
    run = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (3, "")


@pytest.mark.parametrize("redirection", ["<&-", "< /dev/null"])
def test_a_standard_input_that_holds_nothing_is_wrong_usage(
    tmp_path: Path, redirection: str
) -> None:
    program = f"{sys.executable} -c 'from chestx.cli import main; main()'"
    shell = f"{program} predict - -o {tmp_path / 'out'} {redirection}"
    run = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == "chestx: standard input: no file found in it\n"


def test_what_decoders_print_stays_out_of_the_log(cxr: Path, tmp_path: Path) -> None:
    leg = cxr / "originals" / "dicom" / "RG3_JPLY"
    run = chestx("predict", leg, "-o", tmp_path / "out", "-q", "--log-json")
    assert run.returncode == 0
    assert [json.loads(line)["message"] for line in run.stderr.splitlines()] == [
        "started",
        "finished",
    ]


def test_a_night_is_run_once_and_finished_if_it_was_cut(
    samples: Path, repository: Path, tmp_path: Path
) -> None:
    program = tmp_path / "chestx"
    program.write_text(f"#!{sys.executable}\nfrom chestx.cli import main\nmain()\n")
    program.chmod(0o755)
    inbox, results = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()

    def run_night() -> Run:
        return subprocess.run(
            ["bash", str(repository / "examples" / "nightly.sh"), str(inbox), str(results)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "CHESTX": str(program)},
        )

    assert "nothing in" in run_night().stdout
    (inbox / "a.jpg").write_bytes((samples / "other-2-damaged.jpg").read_bytes())
    first = run_night()
    assert (first.returncode, "some files could not be read" in first.stdout) == (3, True)
    second = run_night()
    assert (second.returncode, "finished already" in second.stdout) == (0, True)


def test_version_and_help_are_there() -> None:
    assert chestx("--version").stdout.startswith("chestx 0.")
    shown = chestx("--help")
    assert shown.returncode == 0
    assert "predict" in shown.stdout
    assert CAVEAT.split(".")[0] in shown.stdout


def restore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_an_interrupt_is_one_line_and_leaves_whole_rows(samples: Path, tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text(f"{samples / 'child-1-normal.jpg'}\n" * 20_000)
    process = subprocess.Popen(
        [sys.executable, "-c", "from chestx.cli import main; main()", "predict", str(listing),
         "-o", str(tmp_path / "out"), "--no-heatmaps"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        # Where the tests run in the background, an interrupt is ignored, and children inherit it.
        preexec_fn=restore_interrupt,
    )  # fmt: skip
    table = tmp_path / "out" / "results.csv"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not table.exists() or table.stat().st_size < 20_000):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.strip() == "chestx: interrupted"
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert 1 < len(rows) < 20_000
    assert {row["status"] for row in rows} == {"ok"}
