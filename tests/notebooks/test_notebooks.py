"""The notebooks run from the first cell to the last, and what they show is there to be seen."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chestx.domain import CAVEAT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOKS = ("quickstart.ipynb", "batch_inference.ipynb")
TIMEOUT_S = 300

Execute = Callable[..., "Executed"]


class Executed:
    """A notebook with its outputs."""

    def __init__(self, notebook: Any) -> None:
        self.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]

    @property
    def outputs(self) -> list[Any]:
        """Of all cells, in order."""
        return [output for cell in self.cells for output in cell.outputs]

    @property
    def html(self) -> str:
        """What a reader sees of tables and words."""
        return "\n".join(
            x.data["text/html"] for x in self.outputs if "text/html" in x.get("data", {})
        )

    def list_pictures(self) -> list[np.ndarray]:
        """PNG and JPEG outputs, decoded."""
        encoded = [
            x.data[kind]
            for x in self.outputs
            for kind in ("image/png", "image/jpeg")
            if kind in x.get("data", {})
        ]
        pictures = [
            cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
            for text in encoded
        ]
        assert all(picture is not None for picture in pictures)
        return [np.asarray(picture) for picture in pictures]

    def list_drawings(self) -> list[str]:
        """SVG outputs."""
        return [
            x.data["image/svg+xml"] for x in self.outputs if "image/svg+xml" in x.get("data", {})
        ]


def read_notebook(repository: Path, name: str) -> Any:
    return nbformat.read(repository / "notebooks" / name, as_version=4)


def set_parameters(notebook: Any, **values: Any) -> None:
    """Puts a cell behind the one that is tagged, as papermill does."""
    [place] = [
        number
        for number, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", ())
    ]
    source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    for name in values:
        assert re.search(rf"^{name} = ", notebook.cells[place].source, re.MULTILINE), name
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(source))


@pytest.fixture
def execute(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Execute]:
    """Runs a notebook with other parameters in a kernel of this interpreter."""
    kernel = tmp_path / "jupyter" / "kernels" / "chestx-test"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "of the tests", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    for name, value in {
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }.items():
        monkeypatch.setenv(name, value)
    before = sorted((repository / "notebooks").iterdir())

    def run(name: str, *, last: str = "", **parameters: Any) -> Executed:
        notebook = read_notebook(repository, name)
        set_parameters(notebook, OUTPUT=str(tmp_path), **parameters)
        if last:
            notebook.cells.append(nbformat.v4.new_code_cell(last))
        client = nbclient.NotebookClient(
            notebook,
            timeout=TIMEOUT_S,
            kernel_name="chestx-test",
            resources={"metadata": {"path": str(repository / "notebooks")}},
        )
        client.create_kernel_manager()
        client.km.ip = "127.0.0.1"
        client.execute()
        return Executed(notebook)

    yield run
    assert sorted((repository / "notebooks").iterdir()) == before


def check_all_ran(done: Executed) -> None:
    assert [cell.execution_count for cell in done.cells] == list(range(1, len(done.cells) + 1))
    streams = [x.text for x in done.outputs if x.output_type == "stream"]
    assert not streams, "what a notebook says it shows; a stream is a warning that nobody meant"


def check_seen(picture: np.ndarray) -> None:
    assert min(picture.shape[:2]) >= 200
    assert picture.std() > 15
    assert len(np.unique(picture)) > 30


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_without_outputs_and_paths(repository: Path, name: str) -> None:
    notebook = read_notebook(repository, name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    text = (repository / "notebooks" / name).read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:home|Users|tmp|work|mnt|root)/", text)
    assert CAVEAT in notebook.cells[0].source
    assert sum("parameters" in cell.metadata.get("tags", ()) for cell in notebook.cells) == 1


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_link_of_a_notebook_leads_somewhere(repository: Path, name: str) -> None:
    for cell in read_notebook(repository, name).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#]+)\)", cell.source):
                assert (repository / "notebooks" / target).exists(), target


def test_every_parameter_is_documented(repository: Path) -> None:
    page = (repository / "docs" / "notebooks.md").read_text(encoding="utf-8")
    for name in NOTEBOOKS:
        [cell] = [
            x
            for x in read_notebook(repository, name).cells
            if "parameters" in x.metadata.get("tags", ())
        ]
        names = re.findall(r"^([A-Z_]+) = ", cell.source, re.MULTILINE)
        assert len(names) >= 5
        for parameter in names:
            assert f"`{parameter}`" in page, parameter


def test_the_batch_notebook_answers_for_every_file_without_torch(execute: Execute) -> None:
    done = execute(
        "batch_inference.ipynb",
        WORKERS=0,
        last="import sys; assert not {'torch', 'pandas'} & set(sys.modules)",
    )
    check_all_ran(done)
    assert "14 files" in done.html
    assert "stopped after 4 of 14 files" in done.html
    assert "resumed after 4, done: 14 files" in done.html
    refused = done.html.split("Not assessed: a person must look at these")[1].split("</table>")[0]
    for stray in ("cut-in-half.png", "rings.png", "other-2-damaged.jpg", "other-1-inverted.png"):
        assert stray in refused
    table = done.html.split("not calibrated for this site")[1].split("</table>")[0]
    found = re.findall(r">(positive|uncertain|failed|out of scope|negative)<", table)
    order = ["positive", "uncertain", "failed", "out of scope", "negative"]
    assert len(found) == 14
    assert found == sorted(found, key=order.index)
    assert done.html.count(CAVEAT) == 5  # one a table; the pictures bear it themselves
    pictures = done.list_pictures()
    assert len(pictures) == 8
    for picture in pictures:
        check_seen(picture)


@pytest.mark.torch
def test_the_quickstart_goes_from_images_to_heatmaps(execute: Execute, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = execute(
        "quickstart.ipynb",
        BACKBONE="test_resnet",
        WEIGHTS="none",
        SIZE=64,
        EPOCHS=1,
        LEARNING_RATE=0.01,
        DRAWN_PATIENTS=40,
        SHARES={"train": 0.3, "validation": 0.35, "test": 0.35},
    )
    check_all_ran(done)
    assert ">81<" in done.html  # two a patient, and the copy
    assert "copy.png" in done.html.split("Pictures that are there twice: 1")[1]
    assert "can be guessed without lungs" in done.html
    assert "validation split" in done.html  # the warning of figures that are too good
    assert "On test images, looked at once" in done.html
    assert done.html.count(CAVEAT) >= 12
    pictures = done.list_pictures()
    assert len(pictures) == 6  # samples, curve, and a heatmap for each of four
    for picture in pictures:
        check_seen(picture)
    drawings = done.list_drawings()
    assert len(drawings) == 4
    assert all(drawing.count("<path") > 10 for drawing in drawings)
    [work] = tmp_path.glob("chestx-quickstart-*")
    card = json.loads((work / "model" / "card.json").read_text(encoding="utf-8"))
    assert card["performance"]
    assert all("test" in figure["data"] for figure in card["performance"])
    assert (work / "audit" / "audit.html").is_file()
