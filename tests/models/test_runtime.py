"""Both runtimes give the same numbers, the same ones every time, and nothing else happens."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chestx.domain import InvalidModelError, UsageError
from chestx.models.onnx_file import check_onnx_bytes
from chestx.models.runtime import (
    GraphShape,
    Outputs,
    Runtime,
    RuntimeKind,
    load_runtime,
)

KINDS: list[RuntimeKind] = ["openvino", "onnxruntime"]


@pytest.fixture(scope="module")
def model_onnx(default_folder: Path) -> bytes:
    return (default_folder / "model.onnx").read_bytes()


@pytest.fixture(scope="module")
def runtimes(model_onnx: bytes) -> dict[RuntimeKind, Runtime]:
    return {kind: load_runtime(model_onnx, kind=kind) for kind in KINDS}


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (17, 1, 224, 224), dtype=np.uint8)


@pytest.fixture(scope="module")
def radiographs(cxr: Path) -> np.ndarray:
    """A validation radiograph of each source and label, as model input."""
    with (cxr / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["dev_split"] == "val"]
    first = {(row["data_set"], row["label"]): row["file"] for row in reversed(rows)}
    pictures = (cv2.imread(str(cxr / file), cv2.IMREAD_GRAYSCALE) for file in first.values())
    sized = [
        cv2.resize(picture, (224, 224), interpolation=cv2.INTER_AREA)
        for picture in pictures
        if picture is not None
    ]
    return np.stack(sized).astype(np.uint8)[:, None]


def _assert_close(found: Outputs, expected: Outputs) -> None:
    np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.embedding, expected.embedding, rtol=0, atol=1e-4)
    peak = float(np.abs(expected.maps).max())
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-4 * peak)


def _assert_identical(found: Outputs, expected: Outputs) -> None:
    for name in ("logits", "embedding", "maps"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()


def test_both_runtimes_agree_on_noise(
    runtimes: dict[RuntimeKind, Runtime], noise: np.ndarray
) -> None:
    _assert_close(runtimes["openvino"].run(noise), runtimes["onnxruntime"].run(noise))


def test_both_runtimes_agree_on_radiographs(
    runtimes: dict[RuntimeKind, Runtime], radiographs: np.ndarray
) -> None:
    assert len(radiographs) >= 9
    _assert_close(runtimes["openvino"].run(radiographs), runtimes["onnxruntime"].run(radiographs))


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_a_map_and_a_constant_make_the_logit(
    runtimes: dict[RuntimeKind, Runtime], noise: np.ndarray, kind: RuntimeKind
) -> None:
    outputs = runtimes[kind].run(noise)
    bias = outputs.logits - outputs.maps.mean(axis=(2, 3))
    np.testing.assert_allclose(bias, np.broadcast_to(bias[0], bias.shape), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 3, 8, 17])
def test_an_image_has_the_same_bits_in_every_batch(
    runtimes: dict[RuntimeKind, Runtime], noise: np.ndarray, kind: RuntimeKind, batch: int
) -> None:
    whole = runtimes[kind].run(noise)
    parts = [runtimes[kind].run(noise[i : i + batch]) for i in range(0, len(noise), batch)]
    joined = Outputs(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.embedding for part in parts]),
        np.concatenate([part.maps for part in parts]),
    )
    _assert_identical(joined, whole)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_four_callers_at_once_get_the_bits_of_one(
    runtimes: dict[RuntimeKind, Runtime],
    model_onnx: bytes,
    noise: np.ndarray,
    kind: RuntimeKind,
    threads: int,
) -> None:
    expected = runtimes[kind].run(noise)
    runtime = load_runtime(model_onnx, kind=kind, threads=threads)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(runtime.run, [noise] * 4):
            _assert_identical(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_kept_when_the_next_image_runs(
    runtimes: dict[RuntimeKind, Runtime], noise: np.ndarray, kind: RuntimeKind
) -> None:
    first = runtimes[kind].run(noise[:1])
    kept = first.maps.copy()
    runtimes[kind].run(noise[1:2])
    assert (first.maps == kept).all()


@pytest.mark.parametrize("kind", KINDS)
def test_input_that_is_not_contiguous_is_read_as_it_shows(
    runtimes: dict[RuntimeKind, Runtime], noise: np.ndarray, kind: RuntimeKind
) -> None:
    mirrored = noise[:2, :, :, ::-1]
    _assert_identical(runtimes[kind].run(mirrored), runtimes[kind].run(mirrored.copy()))


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_gives_empty_outputs(
    runtimes: dict[RuntimeKind, Runtime], kind: RuntimeKind
) -> None:
    outputs = runtimes[kind].run(np.empty((0, 1, 224, 224), np.uint8))
    assert outputs.logits.shape == (0, 3)
    assert outputs.maps.shape == (0, 3, 7, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_input_of_another_size_is_refused(
    runtimes: dict[RuntimeKind, Runtime], kind: RuntimeKind
) -> None:
    assert runtimes[kind].shape == GraphShape(224, 3, 1280, (7, 7))
    with pytest.raises(
        ValueError, match=r"expected pixels of \[batch, 1, 224, 224\], got \(1, 1, 64"
    ):
        runtimes[kind].run(np.zeros((1, 1, 64, 64), np.uint8))


def test_the_runtime_that_is_not_installed_says_how_to_install_it(
    model_onnx: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r'pip install "chestx\[onnxruntime\]"'):
        load_runtime(model_onnx, kind="onnxruntime")


def test_no_threads_are_refused(model_onnx: bytes) -> None:
    with pytest.raises(UsageError, match="threads: expected 1 or more, got 0"):
        load_runtime(model_onnx, threads=0)


def _make_graph(
    *,
    names: tuple[str, ...] = ("logits", "embedding", "cams"),
    dtype: int = TensorProto.UINT8,
    shape: tuple[int | str, ...] = ("batch", 1, 32, 32),
    input_name: str = "pixels",
    labels: int = 2,
    operator: str = "Conv",
) -> onnx.ModelProto:
    """A small graph of the right form, with one thing wrong where asked for."""
    kernel = np.random.default_rng(0).normal(size=(4, int(shape[1]), 8, 8)).astype(np.float32)
    head = np.ones((2, 4), np.float32)
    nodes = [
        helper.make_node("Cast", [input_name], ["x"], to=TensorProto.FLOAT),
        helper.make_node(operator, ["x", "kernel"], ["features"], strides=[8, 8]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "head"], ["logits"], transB=1),
        helper.make_node("Conv", ["features", "map_head"], ["cams"]),
    ]
    sizes: dict[str, list[str | int | None]] = {
        "logits": ["batch", 2],
        "embedding": ["batch", 4],
        "cams": ["batch", labels, 4, 4],
    }
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(input_name, dtype, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes[name]) for name in names],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(head, "head"),
            numpy_helper.from_array(np.ones((labels, 4, 1, 1), np.float32), "map_head"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_graph_of_the_right_form_runs(kind: RuntimeKind) -> None:
    runtime = load_runtime(_make_graph().SerializeToString(), kind=kind)
    assert runtime.shape == GraphShape(32, 2, 4, (4, 4))
    assert runtime.run(np.zeros((2, 1, 32, 32), np.uint8)).logits.shape == (2, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _make_graph(input_name="image"), "expected the one input pixels, got image"),
        (
            lambda: _make_graph(names=("logits", "cams")),
            "expected the outputs logits, embedding, got logits, cams without embedding",
        ),
        (lambda: _make_graph(dtype=TensorProto.FLOAT), "expected pixels of uint8, got"),
        (lambda: _make_graph(labels=3), r"expected pixels \[batch, 1, size, size\], logits"),
        (
            lambda: _make_graph(shape=("batch", 1, 32, 40)),
            r"expected pixels \[batch, 1, size, size\], .* got \[\[1, ",
        ),
        (
            lambda: _make_graph(shape=("batch", 3, 32, 32)),
            r"expected pixels \[batch, 1, size, size\], .* got \[\[1, ",
        ),
        (lambda: _make_graph(shape=(32, 32)), "expected a graph that can be compiled, got: .+"),
        (
            lambda: _make_graph(operator="Imagine"),
            "expected a graph that can be compiled, got: .+",
        ),
    ],
)
def test_a_graph_of_another_form_is_refused(
    kind: RuntimeKind, make: Callable[[], onnx.ModelProto], message: str
) -> None:
    data = make().SerializeToString()
    with pytest.raises(InvalidModelError, match=message):
        load_runtime(data, kind=kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0, 1, 1000, -5000])
def test_a_graph_that_was_cut_is_refused(model_onnx: bytes, kind: RuntimeKind, kept: int) -> None:
    with pytest.raises(InvalidModelError, match=r"model\.onnx: expected an ONNX graph, got"):
        load_runtime(model_onnx[:kept], kind=kind)


def test_bytes_that_are_no_graph_are_refused() -> None:
    generator = np.random.default_rng(0)
    for size in (1, 7, 100, 5000):
        for _ in range(50):
            with pytest.raises(InvalidModelError, match="expected an ONNX graph"):
                check_onnx_bytes(generator.bytes(size))


def test_weights_outside_the_file_are_refused_wherever_they_hide() -> None:
    def move_out(tensor: onnx.TensorProto) -> None:
        onnx.external_data_helper.set_external_data(tensor, "../../etc/passwd")

    plain = _make_graph()
    check_onnx_bytes(plain.SerializeToString())

    initializer = _make_graph()
    move_out(initializer.graph.initializer[0])
    constant = _make_graph()
    value = numpy_helper.from_array(np.ones(3, np.float32))
    move_out(value)
    constant.graph.node.append(helper.make_node("Constant", [], ["c"], value=value))
    branch = _make_graph()
    inner = helper.make_graph(list(constant.graph.node)[-1:], "inner", [], [])
    branch.graph.node.append(
        helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner)
    )
    only_location = _make_graph()
    only_location.graph.initializer[0].data_location = TensorProto.EXTERNAL

    for model in (initializer, constant, branch, only_location):
        data = model.SerializeToString()
        with pytest.raises(InvalidModelError, match="got a reference to another file"):
            load_runtime(data)


WATCH = """
import json, os, sys, time
from pathlib import Path

seen = []

def watch(event, args):
    forbidden = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostby",
                 "subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "os.system")
    if event.startswith(forbidden):
        seen.append(event)
        # Refused as well: looking for a call home must not make one.
        raise PermissionError(event)

sys.addaudithook(watch)
{action}
time.sleep(0.3)
children = [p.read_text().split() for p in Path("/proc/self/task").glob("*/children")]
written = [str(p) for p in Path(os.environ["HOME"]).rglob("*")]
print(json.dumps({{"seen": seen, "children": sum(children, []), "written": written}}))
"""

RUN = """
import numpy as np
from chestx.models.runtime import load_runtime
runtime = load_runtime(Path({path!r}).read_bytes())
runtime.run(np.zeros((1, 1, 224, 224), np.uint8))
# Modules of OpenVINO that import the telemetry on first use.
import openvino.tools.ovc
assert sys.modules["openvino_telemetry"] is None
"""

RUN_UNGUARDED = "import openvino"


def _watch(action: str, home: Path) -> dict[str, list[str]]:
    environment = {
        key: value
        for key, value in os.environ.items()
        if key != "CI" and not key.startswith(("GITHUB_", "COV_"))
    }
    home.mkdir()
    source = str(Path(sys.modules["chestx"].__path__[0]).parent)
    done = subprocess.run(
        [sys.executable, "-c", WATCH.format(action=textwrap.dedent(action))],
        env=environment | {"HOME": str(home), "PYTHONPATH": source},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_nothing_is_sent_started_or_written_when_openvino_runs(
    tmp_path: Path, default_folder: Path
) -> None:
    found = _watch(RUN.format(path=str(default_folder / "model.onnx")), tmp_path / "home")
    assert found == {"seen": [], "children": [], "written": []}


def test_the_same_watch_sees_the_telemetry_of_openvino_without_the_guard(tmp_path: Path) -> None:
    found = _watch(RUN_UNGUARDED, tmp_path / "home")
    assert found["seen"]
    assert found["written"]
