"""What a person names becomes the files that are meant, and nothing vanishes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from chestx.batch.inputs import collect_inputs
from chestx.domain import CAVEAT, UsageError


def collect(*arguments: object, text: str = "", exclude: Path | None = None) -> list[str]:
    inputs = collect_inputs(
        [str(argument) for argument in arguments],
        standard_input=text.encode(),
        exclude=exclude,
    )
    return inputs.paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.png", "sub/c.dcm", "sub/no-suffix", ".hidden", "Thumbs.db"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "in"


def test_a_folder_is_searched_through_in_a_stable_order(folder: Path) -> None:
    names = [str(Path(path).relative_to(folder)) for path in collect(folder)]
    assert names == ["a.png", "b.png", "sub/c.dcm", "sub/no-suffix"]


def test_litter_is_counted(folder: Path) -> None:
    assert collect_inputs([str(folder)], standard_input=b"").skipped == 2


def test_the_output_folder_inside_the_input_is_not_read(folder: Path) -> None:
    names = [Path(path).name for path in collect(folder, exclude=folder / "sub")]
    assert names == ["a.png", "b.png"]


def test_a_link_that_leads_back_ends(folder: Path) -> None:
    (folder / "sub" / "loop").symlink_to(folder)
    assert len(collect(folder)) == 4


def test_folders_may_be_nested_deeper_than_python_may_recurse(tmp_path: Path) -> None:
    # By steps, since a path may not be longer than 4,096 bytes in one call.
    start = os.open(tmp_path, os.O_RDONLY)
    here = start
    for _ in range(1_500):
        os.mkdir("a", dir_fd=here)
        below = os.open("a", os.O_RDONLY, dir_fd=here)
        if here != start:
            os.close(here)
        here = below
    os.close(os.open("deep.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    os.close(start)
    (tmp_path / "shallow.png").write_bytes(b"x")
    # Past the length of a path the system says no, and what cannot be listed is a row.
    found = collect(tmp_path)
    # Python's own clean-up recurses, too.
    subprocess.run(["rm", "-rf", str(tmp_path / "a")], check=True)
    assert len(found) == 2
    assert Path(found[1]).name == "shallow.png"


def test_a_link_to_another_folder_is_followed(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "z.png").write_bytes(b"x")
    (folder / "link").symlink_to(other)
    assert str(folder / "link" / "z.png") in collect(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_stays_in_the_list(folder: Path) -> None:
    (folder / "sub").chmod(0)
    try:
        assert str(folder / "sub") in collect(folder)
    finally:
        (folder / "sub").chmod(0o755)


def test_a_pattern_is_expanded(folder: Path) -> None:
    assert [Path(path).name for path in collect(folder / "*.png")] == ["a.png", "b.png"]
    assert [Path(path).name for path in collect(folder / "**" / "*.dcm")] == ["c.dcm"]


def test_a_name_with_brackets_that_exists_is_a_file_and_no_pattern(tmp_path: Path) -> None:
    path = tmp_path / "[1].png"
    path.write_bytes(b"x")
    assert collect(path) == [str(path)]


def test_a_text_list_counts_from_its_own_folder_and_keeps_missing_names(folder: Path) -> None:
    listing = folder / "today.txt"
    listing.write_text("a.png\n\n  \n/elsewhere/x.png\nmissing.png\n")
    assert collect(listing) == [
        str(folder / "a.png"),
        "/elsewhere/x.png",
        str(folder / "missing.png"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "id,path\n1,a.png\n2,b.png\n",
        "file;note\na.png;x\nb.png;y\n",
        "\ufeffFilename\na.png\nb.png\n",
        'path,note\na.png,x\n"b.png","a ""quote"""\n',
    ],
)
def test_a_csv_list_is_read_by_its_path_column(folder: Path, text: str) -> None:
    listing = folder / "list.csv"
    listing.write_text(text, encoding="utf-8")
    assert [Path(path).name for path in collect(listing)] == ["a.png", "b.png"]


def test_a_name_with_quotes_is_read_as_tables_write_it(folder: Path) -> None:
    listing = folder / "list.csv"
    listing.write_text('path,note\n"img ""1"".png",x\n')
    assert collect(listing) == [str(folder / 'img "1".png')]


def test_a_csv_list_without_a_path_column_is_refused(folder: Path) -> None:
    listing = folder / "list.csv"
    listing.write_text("id,name\n1,a.png\n")
    with pytest.raises(UsageError, match="expected a column named path, file, filename, got id"):
        collect(listing)


def test_standard_input_gives_one_path_a_line() -> None:
    assert collect("-", text="\ufeffx.png\r\ny z.png\n") == ["x.png", "y z.png"]


def test_a_path_that_is_no_unicode_is_taken_as_the_system_knows_it() -> None:
    inputs = collect_inputs(["-"], standard_input=b"caf\xe9.png\n")
    assert os.fsencode(inputs.paths[0]) == b"caf\xe9.png"


@pytest.fixture
def results(folder: Path) -> Path:
    """Results of a run with its objects, and a radiograph that somebody put beside them."""
    out = folder / "out"
    (out / "heatmaps").mkdir(parents=True)
    (out / "dicom").mkdir()
    for name in ("results.csv", "heatmaps/1.jpg", "mine.png"):
        (out / name).write_bytes(b"x")
    for place in (out, out / "dicom"):
        (place / "000001_x.sc.dcm").write_bytes(b"x")
    (out / "run.json").write_text(json.dumps({"caveat": CAVEAT}))
    return out


def test_results_of_an_earlier_run_are_passed_over_and_not_what_lies_beside_them(
    folder: Path, results: Path
) -> None:
    inputs = collect_inputs([str(folder)], standard_input=b"")
    assert [path for path in inputs.paths if "out" in Path(path).parts] == [
        str(results / "mine.png")
    ]
    assert inputs.skipped == 2 + 5


def test_files_that_only_have_the_names_of_results_are_rows(folder: Path, results: Path) -> None:
    (results / "run.json").write_text("[]")
    names = [Path(path).name for path in collect(results)]
    assert names == ["1.jpg", "mine.png", "results.csv", "run.json"]


def test_objects_beside_results_can_be_asked_for(results: Path) -> None:
    for place in (results, results / "**"):
        inputs = collect_inputs([str(place)], standard_input=b"", take_objects=True)
        assert sorted(Path(path).name for path in inputs.paths) == [
            *("000001_x.sc.dcm", "000001_x.sc.dcm", "mine.png"),
        ]


def test_a_pattern_gives_each_file_once_and_nothing_that_a_folder_would_not(
    folder: Path, results: Path
) -> None:
    everything = collect_inputs([str(folder / "**")], standard_input=b"")
    # Each name once, though a pattern meets it again on every level.
    assert everything.skipped == collect_inputs([str(folder)], standard_input=b"").skipped
    assert [Path(path).name for path in everything.paths] == [
        *("a.png", "b.png", "mine.png", "c.dcm", "no-suffix"),
    ]
    assert [Path(path).name for path in collect(folder / "**" / "*.png")] == [
        *("a.png", "b.png", "mine.png"),
    ]
    assert collect(folder / "**" / "*.png", exclude=results) == [
        *(str(folder / "a.png"), str(folder / "b.png")),
    ]


def test_a_pattern_may_lead_below_the_folder_of_the_output(
    folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert collect(folder / "sub" / "*.dcm", exclude=folder) == [str(folder / "sub" / "c.dcm")]
    monkeypatch.chdir(folder)
    assert collect("sub/*.dcm", exclude=Path()) == ["sub/c.dcm"]
    monkeypatch.chdir(results)
    assert collect("../sub/*.dcm", exclude=Path()) == ["../sub/c.dcm"]
    # As the folder would, if it were named.
    assert collect("heatmaps/*.jpg") == collect("heatmaps") == ["heatmaps/1.jpg"]


def test_an_argument_that_names_nothing_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        collect(tmp_path / "missing.png")
    with pytest.raises(UsageError, match="no file found in it"):
        collect(tmp_path)
    with pytest.raises(UsageError, match="no file found in it"):
        collect(tmp_path / "*.png")
    with pytest.raises(UsageError, match="standard input: no file found in it"):
        collect("-")


def test_the_order_is_that_of_the_arguments(folder: Path) -> None:
    assert collect(folder / "b.png", folder / "a.png", folder / "b.png") == [
        str(folder / "b.png"),
        str(folder / "a.png"),
        str(folder / "b.png"),
    ]


def test_a_line_that_is_no_path_is_refused_before_the_run() -> None:
    with pytest.raises(UsageError, match="path 2: expected at most 16384 characters, got 20000"):
        collect("-", text="a.png\n" + "x" * 20_000 + "\n")


def test_rare_characters_do_not_end_a_line() -> None:
    assert collect("-", text="a\u2028b.png\nc\x0bd.png\n") == ["a\u2028b.png", "c\x0bd.png"]
