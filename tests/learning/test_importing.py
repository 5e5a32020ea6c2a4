"""Networks that were trained elsewhere give the same answers here, and hostile files give none."""

from __future__ import annotations

import io
import pickle
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

from chestx.analysis import Analyzer  # noqa: E402
from chestx.domain import (  # noqa: E402
    Activation,
    Report,
    UsageError,
)
from chestx.learning import importing_read  # noqa: E402
from chestx.learning.backbones import build_network  # noqa: E402
from chestx.learning.card_texts import CardTexts  # noqa: E402
from chestx.learning.importing import import_onnx, import_torchxrayvision  # noqa: E402
from chestx.learning.importing_description import (  # noqa: E402
    Gives,
    Heatmap,
    Layout,
    OnnxDescription,
    Values,
)
from chestx.learning.importing_folder import MAP_SCALES, fit_likeness  # noqa: E402
from chestx.learning.importing_pickle import read_pickled_state  # noqa: E402
from chestx.learning.importing_read import read_onnx  # noqa: E402
from chestx.learning.importing_xrv import (  # noqa: E402
    MEAN,
    PUBLISHED,
    STD,
    Published,
    build_published,
    find_published,
)
from chestx.learning.published import load_network  # noqa: E402
from chestx.models.classifier import Classifier  # noqa: E402
from chestx.models.folder import load_model_folder  # noqa: E402

SIZE = 32
LABELS = ("NORMAL", "PNEUMONIA", "EFFUSION")
KERAS = OnnxDescription(labels=LABELS, values=Values.SIGNED, no_finding="NORMAL")


def make_graph(
    *,
    last: str = "Softmax",
    layout: str = "nhwc",
    channels: int = 3,
    size: int | str = SIZE,
    pooling: str = "ReduceMean",
    hidden: bool = False,
    opset: int = 15,
    kind: int = TensorProto.FLOAT,
    labels: int = 3,
    extra: Sequence[onnx.NodeProto] = (),
    domains: Sequence[str] = (),
    batch: int | str = "batch",
) -> onnx.ModelProto:
    """What tf2onnx makes of a small Keras classifier: channels last outside, first inside."""
    generator = np.random.default_rng(5)

    def draw(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    constants = {"kernel": draw(8, channels, 3, 3), "shift": draw(8), "bias": draw(labels)}
    nodes = [helper.make_node("Cast", ["input"], ["values"], to=TensorProto.FLOAT)]
    turned = "values"
    if layout == "nhwc":
        nodes.append(helper.make_node("Transpose", ["values"], ["turned"], perm=[0, 3, 1, 2]))
        turned = "turned"
    nodes += [
        helper.make_node("Conv", [turned, "kernel", "shift"], ["map"], strides=[4, 4]),
        helper.make_node("Relu", ["map"], ["features"]),
    ]
    if pooling == "ReduceMean":
        nodes += [
            helper.make_node("Transpose", ["features"], ["back"], perm=[0, 2, 3, 1]),
            helper.make_node("ReduceMean", ["back"], ["pooled"], axes=[1, 2], keepdims=0),
        ]
    else:
        nodes += [
            helper.make_node(pooling, ["features"], ["average"]),
            helper.make_node("Flatten", ["average"], ["pooled"]),
        ]
    pooled = "pooled"
    if hidden:
        constants["hidden"] = draw(8, 8)
        nodes += [
            helper.make_node("MatMul", ["pooled", "hidden"], ["dense"]),
            helper.make_node("Relu", ["dense"], ["active"]),
        ]
        pooled = "active"
    constants["head"] = draw(8, labels)
    nodes += [
        helper.make_node("MatMul", [pooled, "head"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node(last, ["sum"], ["dense_1"]),
        *extra,
    ]
    sides: list[int | str] = [size, size]
    shape = [batch, *sides, channels] if layout == "nhwc" else [batch, channels, *sides]
    graph = helper.make_graph(
        nodes,
        "keras",
        [helper.make_tensor_value_info("input", kind, shape)],
        [helper.make_tensor_value_info("dense_1", TensorProto.FLOAT, [batch, labels])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    versions = [helper.make_opsetid("", opset), *(helper.make_opsetid(x, 1) for x in domains)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8, producer_name="tf2onnx")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a graph, or the one that ``make_graph`` makes with the options."""

    def write(graph: onnx.ModelProto | None = None, **options: Any) -> Path:
        path = tmp_path / "network.onnx"
        onnx.save(graph or make_graph(**options), path)
        return path

    return write


@pytest.fixture
def bring_in(write: Callable[..., Path], tmp_path: Path) -> Callable[..., Classifier]:
    """Writes a graph, imports it and opens the folder."""

    def bring_in(description: OnnxDescription = KERAS, **options: Any) -> Classifier:
        out = tmp_path / "model"
        import_onnx(write(**options), out, description=description)
        return Classifier.load(out, threads=1)

    return bring_in


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)


def run_reference(model: onnx.ModelProto, values: np.ndarray) -> np.ndarray:
    """The graph's own answers by onnxruntime, which the import does not use."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    answers = [session.run(None, {"input": row[None]})[0] for row in values]
    return np.concatenate(answers)


def probabilities_of(classifier: Classifier, pixels: np.ndarray) -> np.ndarray:
    return np.stack([prediction.probabilities for prediction in classifier.predict(pixels)])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (Values.UNIT, lambda x: x / 255),
        (Values.BYTE, lambda x: x),
        (Values.SIGNED, lambda x: x / 127.5 - 1),
        (
            Values.IMAGENET,
            lambda x: (x / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225]),
        ),
        (Values.CAFFE, lambda x: x - np.array([103.939, 116.779, 123.68])),
    ],
)
def test_a_network_from_keras_sees_the_values_that_it_expects(
    bring_in: Callable[..., Classifier],
    pixels: np.ndarray,
    values: Values,
    expected: Callable[[np.ndarray], np.ndarray],
) -> None:
    classifier = bring_in(replace(KERAS, values=values))
    colours = np.repeat(pixels[..., None], 3, axis=-1).astype(np.float64)
    wanted = run_reference(make_graph(), expected(colours).astype(np.float32))
    np.testing.assert_allclose(probabilities_of(classifier, pixels), wanted, atol=1e-4)


def test_mean_and_deviation_of_ones_own_are_used(
    bring_in: Callable[..., Classifier], pixels: np.ndarray
) -> None:
    description = replace(KERAS, values=Values.UNIT, mean=(0.4, 0.5, 0.6), std=(0.2,))
    classifier = bring_in(description)
    colours = np.repeat(pixels[..., None], 3, axis=-1) / 255
    wanted = run_reference(
        make_graph(), ((colours - np.array([0.4, 0.5, 0.6])) / 0.2).astype(np.float32)
    )
    np.testing.assert_allclose(probabilities_of(classifier, pixels), wanted, atol=1e-4)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("channels", [1, 3])
def test_layout_and_channels_are_read_from_the_shape(
    bring_in: Callable[..., Classifier], pixels: np.ndarray, layout: str, channels: int
) -> None:
    classifier = bring_in(layout=layout, channels=channels)
    grey = (pixels / 127.5 - 1).astype(np.float32)
    axis = 1 if layout == "nchw" else -1
    values = np.repeat(np.expand_dims(grey, axis), channels, axis=axis)
    wanted = run_reference(make_graph(layout=layout, channels=channels), values)
    np.testing.assert_allclose(probabilities_of(classifier, pixels), wanted, atol=1e-4)
    assert classifier.card.heatmap == "cam"


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": "ReduceMean"},
        {"pooling": "GlobalAveragePool"},
        {"pooling": "GlobalAveragePool", "layout": "nchw"},
        {"last": "Sigmoid"},
    ],
)
def test_maps_are_made_where_an_average_and_a_linear_layer_end_the_graph(
    bring_in: Callable[..., Classifier], pixels: np.ndarray, options: dict[str, str]
) -> None:
    is_softmax = options.get("last") != "Sigmoid"
    classifier = bring_in(KERAS if is_softmax else replace(KERAS, no_finding=""), **options)
    assert classifier.card.heatmap == "cam"
    assert classifier.card.embedding_size == 8
    for prediction in classifier.predict(pixels):
        rest = prediction.logits - prediction.maps.mean(axis=(1, 2))
        bias = numpy_helper.to_array(make_graph().graph.initializer[2])
        np.testing.assert_allclose(rest, bias - bias.mean() * is_softmax, atol=1e-4)
    if is_softmax:
        np.testing.assert_allclose(prediction.maps.sum(axis=0), 0, atol=1e-4)


def test_a_hidden_layer_before_the_logits_makes_occlusion_maps(
    bring_in: Callable[..., Classifier], pixels: np.ndarray
) -> None:
    classifier = bring_in(hidden=True)
    assert classifier.card.heatmap == "occlusion"
    assert classifier.card.embedding_size == 8
    assert classifier.predict(pixels)[0].maps.shape == (3, 0, 0)


def test_maximum_pooling_makes_no_activation_maps(bring_in: Callable[..., Classifier]) -> None:
    assert bring_in(pooling="GlobalMaxPool").card.heatmap == "occlusion"


@pytest.mark.parametrize("heatmap", [Heatmap.OCCLUSION, Heatmap.NONE])
def test_another_heatmap_can_be_asked_for(
    bring_in: Callable[..., Classifier], heatmap: Heatmap
) -> None:
    assert bring_in(replace(KERAS, heatmap=heatmap)).card.heatmap == heatmap


def test_logits_need_to_be_told_what_they_become(
    bring_in: Callable[..., Classifier], pixels: np.ndarray
) -> None:
    with pytest.raises(UsageError, match="--gives and --activation: expected both for a graph"):
        bring_in(last="Identity")
    description = replace(KERAS, gives=Gives.LOGITS, activation=Activation.SIGMOID, no_finding="")
    classifier = bring_in(description, last="Identity")
    colours = np.repeat((pixels / 127.5 - 1)[..., None], 3, axis=-1).astype(np.float32)
    wanted = run_reference(make_graph(last="Identity"), colours)
    found = np.stack([prediction.logits for prediction in classifier.predict(pixels)])
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("activation", list(Activation))
def test_probabilities_become_logits_where_no_operator_can_be_left_out(
    bring_in: Callable[..., Classifier], pixels: np.ndarray, activation: Activation
) -> None:
    last = "Softmax" if activation is Activation.SOFTMAX else "Sigmoid"
    # The graph's output is a sum after its last operator: there is nothing to leave out.
    graph = make_graph(last=last)
    zero = numpy_helper.from_array(np.zeros(3, np.float32), "zero")
    graph.graph.initializer.append(zero)
    graph.graph.node[-1].output[0] = "inner"
    graph.graph.node.append(helper.make_node("Add", ["inner", "zero"], ["dense_1"]))
    description = replace(
        KERAS, gives=Gives.PROBABILITIES, activation=activation, values=Values.UNIT, no_finding=""
    )
    colours = np.repeat((pixels / 255)[..., None], 3, axis=-1).astype(np.float32)
    wanted = run_reference(graph, colours)
    classifier = bring_in(description, graph=graph)
    np.testing.assert_allclose(probabilities_of(classifier, pixels), wanted, atol=1e-4)
    assert classifier.card.heatmap == "occlusion"
    assert any("logits stand in for the embedding" in x for x in classifier.card.limitations)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS[:2]}, r"--labels: expected one for each output, got 2 for an output"),
        ({"labels": ("A", "A", "B"), "no_finding": ""}, "no key twice"),
        ({"labels": ("=cmd", "A", "B"), "no_finding": ""}, "--labels: label: expected a key"),
        ({"no_finding": "OTHER"}, "--no-finding: expected one of NORMAL, PNEUMONIA"),
        ({"size": 64}, "--size: expected one side of 16 to 4096 pixels for a square input"),
        ({"layout": Layout.NCHW}, "expected 1 or 3 channels in an input of nchw"),
        ({"mean": (1.0, 2.0)}, "--mean: expected 1 or 3 finite numbers"),
        ({"mean": (float("nan"),)}, "--mean: expected 1 or 3 finite numbers"),
        ({"std": (0.0,)}, "--std: expected positive numbers"),
        ({"values": Values.CAFFE, "mean": (1.0,)}, "--range: caffe is for three channels"),
        ({"gives": Gives.LOGITS}, "--gives: expected probabilities for a graph that ends in Soft"),
        ({"activation": Activation.SIGMOID}, "--activation: expected softmax for a graph that"),
        ({"tensor": "elsewhere"}, "--tensor: expected one of 'dense_1'"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    bring_in: Callable[..., Classifier], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        bring_in(replace(KERAS, **change))


@pytest.mark.parametrize(
    ("claim", "last", "message"),
    [
        (Gives.PROBABILITIES, "Identity", "--gives: expected probabilities that add up to 1"),
        (Gives.LOGITS, "Softmax", "--gives: expected logits, the graph gives numbers of 0 to 1"),
    ],
)
def test_outputs_are_looked_at_before_they_are_believed(
    bring_in: Callable[..., Classifier], claim: Gives, last: str, message: str
) -> None:
    graph = make_graph(last=last)
    graph.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "zero"))
    graph.graph.node[-1].output[0] = "inner"
    graph.graph.node.append(helper.make_node("Add", ["inner", "zero"], ["dense_1"]))
    description = replace(KERAS, gives=claim, activation=Activation.SOFTMAX, no_finding="")
    with pytest.raises(UsageError, match=message):
        bring_in(description, graph=graph)


def test_sides_that_the_graph_leaves_open_are_given(
    bring_in: Callable[..., Classifier], pixels: np.ndarray
) -> None:
    with pytest.raises(UsageError, match=r"--size: expected one side .* got none"):
        bring_in(size="side")
    assert bring_in(replace(KERAS, size=48), size="side").card.input.size == 48


def test_a_graph_for_exactly_one_image_is_run(bring_in: Callable[..., Classifier]) -> None:
    assert bring_in(batch=1).card.heatmap == "cam"


def test_a_graph_for_several_images_at_once_is_refused(
    bring_in: Callable[..., Classifier],
) -> None:
    with pytest.raises(UsageError, match="export it with a batch of 1 or of any size"):
        bring_in(batch=4)


def test_a_graph_that_takes_bytes_is_given_bytes(
    bring_in: Callable[..., Classifier], pixels: np.ndarray
) -> None:
    with pytest.raises(UsageError, match="--range: the input is of uint8; give byte"):
        bring_in(kind=TensorProto.UINT8)
    classifier = bring_in(replace(KERAS, values=Values.BYTE), kind=TensorProto.UINT8)
    wanted = run_reference(
        make_graph(kind=TensorProto.UINT8), np.repeat(pixels[..., None], 3, axis=-1)
    )
    np.testing.assert_allclose(probabilities_of(classifier, pixels), wanted, atol=1e-4)


def _external(graph: onnx.ModelProto) -> None:
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def _huge(graph: onnx.ModelProto) -> None:
    shape = numpy_helper.from_array(np.array([1, 100_000, 100_000], np.int64), "shape")
    graph.graph.initializer.append(shape)
    graph.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["bomb"]))


def _loop(graph: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    graph.graph.node.append(helper.make_node("Loop", [], ["never"], body=body))


def _hidden_custom(graph: onnx.ModelProto) -> None:
    """In a branch of an If."""
    node = helper.make_node("Steal", [], ["loot"], domain="evil")
    branch = helper.make_graph([node], "branch", [], [])
    graph.graph.node.append(
        helper.make_node("If", ["input"], ["x"], then_branch=branch, else_branch=branch)
    )
    graph.opset_import.append(helper.make_opsetid("evil", 1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_external, "'network.onnx': expected weights inside the file"),
        (_huge, "expected tensors of at most 268435456 numbers, got 10000000000"),
        (_loop, "expected a plain image classifier, got the operator Loop"),
        (_hidden_custom, "expected operators of ONNX only, got 'Steal' of 'evil'"),
        (lambda g: g.opset_import[0].__setattr__("version", 6), "expected operators of version 9"),
        (lambda g: g.opset_import[0].__setattr__("version", 999), "got 999; export it with"),
        (lambda g: g.graph.node.pop(1), "expected a valid ONNX graph"),
        (lambda g: g.graph.input.append(g.graph.input[0]), "expected"),
        (lambda g: g.graph.node[2].__setattr__("op_type", "Nonsense"), "expected a valid ONNX"),
    ],
)
def test_a_hostile_graph_is_refused_in_words(
    bring_in: Callable[..., Classifier],
    tmp_path: Path,
    spoil: Callable[[onnx.ModelProto], object],
    message: str,
) -> None:
    graph = make_graph()
    spoil(graph)
    with pytest.raises(UsageError, match=message):
        bring_in(graph=graph)
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]


def test_a_file_that_is_no_graph_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "network.onnx"
    with pytest.raises(UsageError, match="expected an ONNX file, there is none"):
        read_onnx(path)
    for data in (b"", b"hello", b"\x3a\x02\x0a\x00", pickle.dumps({})):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"'network\.onnx': expected"):
            read_onnx(path)
    monkeypatch.setattr(importing_read, "MAX_NODES", 3)
    onnx.save(make_graph(), path)
    with pytest.raises(UsageError, match="expected at most 3 operators, got more"):
        read_onnx(path)


def test_nothing_is_written_over(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UsageError, match="expected a name that is free"):
        import_onnx(write(), tmp_path / "model", description=KERAS)


def test_the_card_says_what_is_not_known(bring_in: Callable[..., Classifier]) -> None:
    card = bring_in().card
    text = " ".join(card.limitations)
    assert "probabilities are not calibrated" in text
    assert "Whether an image is like those it learnt from is not checked" in text
    assert "drawn on a scale that was not measured" in text
    assert card.scope.max_distance is None
    assert {label.map_scale for label in card.labels} == {MAP_SCALES["cam"]}
    assert card.training["imported_from"]["described_as"]["range"] == "signed"


def test_without_images_no_distance_is_made_up(
    bring_in: Callable[..., Classifier], samples: Path
) -> None:
    classifier = bring_in(replace(KERAS, heatmap=Heatmap.NONE))
    assert classifier.measure_distance(np.ones(8, np.float32)) is None
    with Analyzer(classifier, workers=0, threads=1) as analyzer:
        result = analyzer.analyze(samples / "adult-3-pneumonia.jpg")
    assert isinstance(result, Report)
    assert result.distance is None
    assert result.maps is None


def test_images_set_the_likeness_check_and_the_scale_of_the_maps(
    write: Callable[..., Path], tmp_path: Path, samples: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    base = cv2.imread(str(samples / "adult-1-no-finding.png"), cv2.IMREAD_GRAYSCALE)
    assert base is not None
    generator = np.random.default_rng(0)
    for i in range(60):
        gain = generator.uniform(0.8, 1.0)
        turned = np.roll(base, int(generator.integers(-9, 9)), axis=1) * gain
        cv2.imwrite(str(folder / f"{i:02}.png"), turned.astype(np.uint8))
    (folder / "broken.png").write_bytes(b"broken")
    texts = CardTexts(name="mine", version="2", summary="A card.", caveats={"PNEUMONIA": "weak"})
    card = import_onnx(
        write(), tmp_path / "model", description=KERAS, texts=texts, images=folder, workers=0
    )
    assert card.scope.max_distance is not None
    assert MAP_SCALES["cam"] not in {label.map_scale for label in card.labels}
    assert any("checked against 60 images" in x for x in card.limitations)
    assert (card.name, card.labels[1].caveat) == ("mine", "weak")
    Classifier.load(tmp_path / "model", threads=1).check()


def test_too_few_images_set_nothing(
    write: Callable[..., Path], tmp_path: Path, samples: Path
) -> None:
    with pytest.raises(UsageError, match="images: expected at least 50 radiographs"):
        import_onnx(write(), tmp_path / "model", description=KERAS, images=samples, workers=0)
    assert not (tmp_path / "model").exists()


def test_embeddings_that_tell_nothing_apart_are_refused() -> None:
    with pytest.raises(UsageError, match="images: expected features that tell images apart"):
        fit_likeness(np.zeros((60, 8), np.float32))


XRV = "densenet121-res224-rsna"


class _Thief:
    """What a hostile checkpoint would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('the file ran its own code')",)


@pytest.fixture(scope="module")
def network() -> Any:
    """A DenseNet-121 in torchxrayvision's form, with statistics of images."""
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = torchvision.models.densenet121(weights=None, num_classes=18)
    whole.features.conv0 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    for layer in whole.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        whole.train()
        whole((torch.rand(2, 1, 64, 64) * 2 - 1) * 1024)
    return whole.eval()


def save_as_package(network: Any, path: Path, **options: Any) -> None:
    """Pickles the whole network as one of the package's classes, then forgets the package."""
    names = ("DenseNet", "_DenseBlock", "_DenseLayer", "_Transition")
    package, module = types.ModuleType("torchxrayvision"), types.ModuleType("models")
    package.models = module  # type: ignore[attr-defined]
    for name in names:
        kind = type(name, (torch.nn.Module,), {"__module__": "torchxrayvision.models"})
        setattr(module, name, kind)
    own = [(layer, type(layer)) for layer in network.modules()]
    sys.modules |= {"torchxrayvision": package, "torchxrayvision.models": module}
    try:
        for layer, kind in own:
            if kind.__name__ in names:
                layer.__class__ = getattr(module, kind.__name__)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(network, path, **options)
    finally:
        for layer, kind in own:
            layer.__class__ = kind
        del sys.modules["torchxrayvision"], sys.modules["torchxrayvision.models"]


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickled_network_gives_its_tensors_and_nothing_else(
    network: Any, tmp_path: Path, is_zip: bool
) -> None:
    path = tmp_path / "network.pt"
    save_as_package(network, path, _use_new_zipfile_serialization=is_zip)
    state = read_pickled_state(path)
    wanted = network.state_dict()
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[key], wanted[key]) for key in wanted)
    assert "torchxrayvision" not in sys.modules


def test_a_published_network_computes_what_the_packages_own_does(
    network: Any, tmp_path: Path
) -> None:
    path = tmp_path / PUBLISHED[XRV].file
    save_as_package(network, path)
    own, labels = build_published(find_published(path, None), read_pickled_state(path))
    assert [label.key for label in labels] == ["PNEUMONIA", "LUNG_OPACITY"]
    pixels = torch.randint(0, 256, (2, 1, 96, 96), dtype=torch.uint8)
    with torch.no_grad():
        values = (2 * (pixels / 255) - 1) * 1024
        # The maps are of what is pooled, and that is after the last ReLU.
        features = torch.relu(network.features(values))
        wanted, found = network(values)[:, [8, 16]], own(pixels)
        torch.testing.assert_close(own.extract(pixels), features, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.logits, wanted, rtol=1e-4, atol=1e-3)


def test_a_checkpoint_becomes_a_model_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = Published("small.pt", (0.2, None, 0.4, *[None] * 15), "a set", "test_resnet", 64)
    monkeypatch.setattr("chestx.learning.importing_xrv.PUBLISHED", {"small": published})
    monkeypatch.setattr("chestx.learning.importing.PUBLISHED", {"small": published})
    torch.manual_seed(0)
    network = build_network("test_resnet", labels=18)
    head = {f"fc.{key}": value for key, value in network.head.state_dict().items()}
    torch.save(network.backbone.state_dict() | head, tmp_path / "small.pt")
    card = import_torchxrayvision(tmp_path / "small.pt", tmp_path / "model")
    assert [label.key for label in card.labels] == ["ATELECTASIS", "INFILTRATION"]
    assert [x.operating_point.threshold for x in card.labels if x.operating_point] == [0.2, 0.4]
    assert (card.activation, card.temperature, card.heatmap) == ("sigmoid", 1.0, "cam")
    assert card.training["normalisation"] == {"mean": 0.5, "std": 0.5 / 1024}
    assert "model.safetensors" in load_model_folder(tmp_path / "model").card.files
    pixels = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    network.set_normalisation(mean=MEAN, std=STD)
    with torch.no_grad():
        wanted = network.eval()(pixels).logits[:, [0, 2]].numpy()
    found = Classifier.load(tmp_path / "model", threads=1).predict(pixels[:, 0].numpy())
    logits = np.stack([prediction.logits for prediction in found])
    np.testing.assert_allclose(logits, wanted, atol=1e-4 * np.abs(wanted).max())
    # Who trains on from it begins with its weights, and feeds them what they expect.
    again = load_network(load_model_folder(tmp_path / "model"))
    assert (float(again.mean), float(again.std)) == (MEAN, STD)
    with torch.no_grad():
        found_again = again(pixels).logits.numpy()
    np.testing.assert_allclose(found_again, wanted, atol=0.01 * np.abs(wanted).max())


def test_the_package_itself_gives_the_same_answers(network: Any) -> None:
    package = pytest.importorskip("torchxrayvision")
    theirs = package.models.DenseNet(num_classes=18).eval()
    theirs.load_state_dict(network.state_dict())
    own, _ = build_published("densenet121-res224-all", network.state_dict())
    pixels = torch.randint(0, 256, (1, 1, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(package.datasets.normalize(pixels.numpy(), 255)).float())
        found = own(pixels).logits
    torch.testing.assert_close(found.sigmoid(), wanted.sigmoid(), rtol=0, atol=1e-4)
    for name, item in PUBLISHED.items():
        thresholds = package.models.model_urls[name]["op_threshs"]
        assert item.thresholds == tuple(None if np.isnan(x) else x for x in thresholds)


def test_the_thresholds_decide_as_the_rescaled_outputs_of_torchxrayvision_do() -> None:
    for item in PUBLISHED.values():
        for threshold in filter(None, item.thresholds):
            for p in (threshold / 2, threshold, (1 + threshold) / 2):
                below = p / (2 * threshold)
                above = 1 - (1 - p) / (2 * (1 - threshold))
                assert ((below if p < threshold else above) >= 0.5) == (p >= threshold)


def test_outputs_that_were_never_trained_are_left_out() -> None:
    trained = {
        name: sum(x is not None for x in item.thresholds) for name, item in PUBLISHED.items()
    }
    assert trained["densenet121-res224-all"] == 18
    assert trained["densenet121-res224-nih"] == 14
    assert trained["densenet121-res224-rsna"] == 2
    assert all(len(item.thresholds) == 18 for item in PUBLISHED.values())


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    for is_zip in (True, False):
        torch.save({"state_dict": {"a": _Thief()}}, path, _use_new_zipfile_serialization=is_zip)
        with pytest.raises(UsageError, match=r"expected a pickled network .*exec"):
            read_pickled_state(path)
    path.write_bytes(pickle.dumps(_Thief(), protocol=2))
    with pytest.raises(UsageError, match="expected a pickled network of known layers"):
        read_pickled_state(path)


def test_a_checkpoint_of_other_things_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with pytest.raises(UsageError, match="there is no such file"):
        read_pickled_state(path)
    for content in ([1, 2], {"a": 1}, "text", torch.nn.LSTM(2, 2)):
        torch.save(content, path)
        with pytest.raises(UsageError, match=r"'weights\.pt': expected a pickled network"):
            read_pickled_state(path)
    torch.save({}, path)
    with pytest.raises(UsageError, match="expected tensors, got none"):
        read_pickled_state(path)
    for data in (b"", b"\x80", b"\x80\x02.", b"PK\x03\x04", b"noise" * 100):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"'weights\.pt': expected a pickled network"):
            read_pickled_state(path)


def test_a_checkpoint_that_repeats_itself_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    layer: Any = torch.nn.Sequential()
    for _ in range(30):
        layer = torch.nn.Sequential(layer, layer)
    torch.save(layer, path)
    with pytest.raises(UsageError, match="more than 10000 layers"):
        read_pickled_state(path)
    chain: Any = torch.nn.Sequential()
    for _ in range(40):
        chain = torch.nn.Sequential(chain)
    torch.save(chain, path)
    with pytest.raises(UsageError, match="layers nested deeper than 32"):
        read_pickled_state(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "renamed.pt"
    torch.save({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match="expected --weights densenet121-res224-all"):
        import_torchxrayvision(path, tmp_path / "model")
    with pytest.raises(UsageError, match="is the file that of these weights"):
        import_torchxrayvision(path, tmp_path / "model", weights=XRV)


def test_a_torchvision_classifier_comes_in_through_onnx(
    tmp_path: Path, bring_in: Callable[..., Classifier]
) -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    whole = torchvision.models.resnet18(weights=None, num_classes=3).eval()
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            whole,
            (torch.zeros(2, 3, 64, 64),),
            stream,
            input_names=["image"],
            dynamic_axes={"image": {0: "batch"}},
            dynamo=False,
        )
    graph = onnx.load_model_from_string(stream.getvalue())
    description = replace(
        KERAS, values=Values.IMAGENET, gives=Gives.LOGITS, activation=Activation.SOFTMAX
    )
    classifier = bring_in(description, graph=graph)
    assert (classifier.card.heatmap, classifier.card.embedding_size) == ("cam", 512)
    pixels = np.random.default_rng(3).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    mean, std = (np.array(x)[:, None, None] for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    values = torch.from_numpy((pixels[:, None] / 255.0 - mean) / std).float()
    with torch.no_grad():
        wanted = whole(values).softmax(dim=1).numpy()
    np.testing.assert_allclose(probabilities_of(classifier, pixels), wanted, atol=1e-5)
