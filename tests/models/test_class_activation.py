"""The maps in the graph are Grad-CAM: the same as by hooks and gradients, for every logit.

Grad-CAM weights the channels of the last feature map by the mean gradient of a logit
and keeps what is positive. After global average pooling and a linear head that
gradient is the head's weight over height x width, so the map in the graph, kept where
positive and divided by height x width, has to be the very same.

Source: Selvaraju et al., Grad-CAM, ICCV 2017; Zhou et al., CAM, CVPR 2016.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chestx.models.runtime import Outputs, load_runtime

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

pytestmark = pytest.mark.torch

SIZE, LABELS = 96, 3


def _tiny_noise(size: int, count: int) -> np.ndarray:
    """Smooth random pictures: noise alone excites a deep network hardly at all."""
    coarse = np.random.default_rng(0).random((count, 1, 8, 8), dtype=np.float32)
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(coarse), size=(size, size), mode="bicubic"
    )
    pixels: np.ndarray = (smooth.clamp(0, 1) * 255).to(torch.uint8).numpy()
    return pixels


def _resnet(name: str) -> Callable[[], tuple[Any, Any]]:
    def build() -> tuple[Any, Any]:
        models = pytest.importorskip("torchvision.models")
        network = getattr(models, name)(weights=None)
        network.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        features = torch.nn.Sequential(*list(network.children())[:-2])
        return features, torch.nn.Linear(512, LABELS)

    return build


def _densenet() -> tuple[Any, Any]:
    models = pytest.importorskip("torchvision.models")
    features = models.densenet121(weights=None).features
    features.conv0 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    # The pooling sees what the last ReLU lets through, and so must the map.
    return torch.nn.Sequential(features, torch.nn.ReLU()), torch.nn.Linear(1024, LABELS)


def _lite0() -> tuple[Any, Any]:
    timm = pytest.importorskip("timm")
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, in_chans=1)

    class Features(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Any) -> Any:
            return self.network.forward_features(x)

    return Features(), torch.nn.Linear(1280, LABELS)


NETWORKS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "lite0": _lite0,
    "resnet18": _resnet("resnet18"),
    "resnet34": _resnet("resnet34"),
    "densenet121": _densenet,
}


def _make_published(features: Any, head: Any) -> Any:
    """A module of the form of every model.onnx."""

    class Published(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.features = features
            self.head = head

        def forward(self, pixels: Any) -> tuple[Any, Any, Any]:
            found = self.features((pixels.float() - 127) / 128)
            embedding = found.mean((2, 3))
            maps = torch.nn.functional.conv2d(found, self.head.weight[:, :, None, None])
            return self.head(embedding), embedding, maps

    return Published().eval()


def _export(module: Any, path: Path) -> None:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter of TorchScript is deprecated; it takes a tenth of the other's time.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(1, 1, SIZE, SIZE, dtype=torch.uint8),),
            buffer,
            input_names=["pixels"],
            output_names=["logits", "embedding", "cams"],
            dynamic_axes={name: {0: "batch"} for name in ("pixels", "logits", "embedding", "cams")},
            opset_version=17,
            dynamo=False,
        )
    path.write_bytes(buffer.getvalue())


def _grad_cam(run: Callable[[Any], Any], layer: Any, pixels: np.ndarray, label: int) -> np.ndarray:
    """Grad-CAM of one logit by hooks on a layer, before its last step, the ReLU."""
    kept: dict[str, Any] = {}

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        kept["features"] = output
        output.register_hook(lambda gradient: kept.__setitem__("gradient", gradient))

    handle = layer.register_forward_hook(keep)
    try:
        run(torch.from_numpy(pixels))[:, label].sum().backward()
    finally:
        handle.remove()
    weights = kept["gradient"].mean((2, 3), keepdim=True)
    found: np.ndarray = (weights * kept["features"]).sum(1).detach().numpy()
    return found


def _assert_same_maps(found: Outputs, label: int, expected: np.ndarray) -> None:
    height, width = expected.shape[1:]
    ours = found.maps[:, label] / (height * width)
    # Compared before the ReLU, which would hide every difference where both are negative.
    tolerance = 1e-4 * np.abs(expected).max()
    assert tolerance > 0
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(np.maximum(ours, 0), np.maximum(expected, 0), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_map_of_every_logit_is_grad_cam_by_hooks(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    features, head = NETWORKS[name]()
    module = _make_published(features, head)
    pixels = _tiny_noise(SIZE, 2)
    with torch.no_grad():
        # Statistics of the pictures themselves, else a random network dies out with depth.
        module.train()
        for _ in range(8):
            module(torch.from_numpy(pixels))
        module.eval()
    path = tmp_path / "model.onnx"
    _export(module, path)
    outputs = load_runtime(path.read_bytes()).run(pixels)
    np.testing.assert_allclose(
        outputs.logits, module(torch.from_numpy(pixels))[0].detach().numpy(), rtol=0, atol=1e-4
    )
    for label in range(LABELS):
        expected = _grad_cam(lambda x: module(x)[0], module.features, pixels, label)
        _assert_same_maps(outputs, label, expected)


class _GraphInTorch:
    """Runs the operators of the shipped graph in torch, so that gradients are to be had."""

    def __init__(self, path: Path) -> None:
        graph = onnx.load(path).graph
        self._nodes = graph.node
        self._weights = {
            item.name: torch.from_numpy(onnx.numpy_helper.to_array(item).copy())
            for item in graph.initializer
        }
        self.last_features = torch.nn.Identity()
        self._pooled = next(node.input[0] for node in graph.node if node.op_type == "ReduceMean")

    def run(self, pixels: Any) -> Any:
        """Logits."""
        values = self._weights | {"pixels": pixels}
        for node in self._nodes:
            options = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
            found = self._apply(node.op_type, [values[name] for name in node.input], options)
            is_last = node.output[0] == self._pooled
            values[node.output[0]] = self.last_features(found) if is_last else found
        return values["logits"]

    @staticmethod
    def _apply(operator: str, inputs: list[Any], options: dict[str, Any]) -> Any:
        match operator:
            case "Cast":
                return inputs[0].float()
            case "Sub":
                return inputs[0] - inputs[1]
            case "Div":
                return inputs[0] / inputs[1]
            case "Add":
                return inputs[0] + inputs[1]
            case "Clip":
                return inputs[0].clamp(inputs[1], inputs[2])
            case "ReduceMean":
                return inputs[0].mean(tuple(inputs[1].tolist()), keepdim=bool(options["keepdims"]))
            case "Gemm":
                return inputs[0] @ (inputs[1].T if options.get("transB") else inputs[1]) + inputs[2]
            case "Conv":
                return _convolve(inputs, options)
        raise NotImplementedError(operator)


def _convolve(inputs: list[Any], options: dict[str, Any]) -> Any:
    top, left, bottom, right = options.get("pads", (0, 0, 0, 0))
    padded = torch.nn.functional.pad(inputs[0], (left, right, top, bottom))
    bias = inputs[2] if len(inputs) > 2 else None
    return torch.nn.functional.conv2d(
        padded,
        inputs[1],
        bias,
        stride=tuple(options.get("strides", (1, 1))),
        dilation=tuple(options.get("dilations", (1, 1))),
        groups=options.get("group", 1),
    )


def test_the_maps_of_the_shipped_graph_are_grad_cam_by_hooks(default_folder: Path) -> None:
    graph = _GraphInTorch(default_folder / "model.onnx")
    for weight in graph._weights.values():
        weight.requires_grad_(weight.is_floating_point())
    pixels = _tiny_noise(224, 2)
    outputs = load_runtime((default_folder / "model.onnx").read_bytes()).run(pixels)
    logits = graph.run(torch.from_numpy(pixels)).detach().numpy()
    np.testing.assert_allclose(outputs.logits, logits, rtol=0, atol=1e-4)
    for label in range(LABELS):
        expected = _grad_cam(graph.run, graph.last_features, pixels, label)
        _assert_same_maps(outputs, label, expected)


def test_the_weights_that_training_starts_from_are_those_of_the_shipped_graph(
    default_folder: Path,
) -> None:
    """To half precision: its kernels keep eleven bits, and 52 layers add up their rounding."""
    timm = pytest.importorskip("timm")
    load_file = pytest.importorskip("safetensors.torch").load_file
    state = load_file(default_folder / "model.safetensors")
    network = timm.create_model(
        "tf_efficientnet_lite0", pretrained=False, in_chans=1, num_classes=LABELS
    ).eval()
    normalisation = {name: float(state.pop(name)) for name in ("mean", "std")}
    assert normalisation == pytest.approx({"mean": 127 / 255, "std": 128 / 255})
    names = {
        name: f"classifier.{name[5:]}" if name.startswith("head.") else name[len("backbone.") :]
        for name in state
    }
    network.load_state_dict({names[name]: tensor.float() for name, tensor in state.items()})
    pixels = _tiny_noise(224, 4)
    with torch.no_grad():
        found = network.forward_features((torch.from_numpy(pixels).float() - 127) / 128)
        logits = network.forward_head(found)
        logits = logits - logits.mean(1, keepdim=True)
        weight = network.classifier.weight - network.classifier.weight.mean(0)
        maps = torch.einsum("bchw,lc->blhw", found, weight).numpy()
    outputs = load_runtime((default_folder / "model.onnx").read_bytes()).run(pixels)
    np.testing.assert_allclose(logits.numpy(), outputs.logits, rtol=0, atol=0.02)
    np.testing.assert_allclose(maps, outputs.maps, rtol=0, atol=0.01 * np.abs(outputs.maps).max())
