"""The network of a model folder, as weights that can be changed, not as a graph."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from chestx.domain import ModelCard, UsageError
from chestx.learning.backbones import BACKBONES, Network, build_network, load_state
from chestx.learning.config import TrainConfig, config_from_table
from chestx.models.folder import WEIGHTS, ModelFolder
from chestx.models.runtime import load_runtime

SAME = 0.02
"""Largest difference of a logit between graph and weights, relative to the largest logit.

The weights are kept at half precision, those of the graph are not or are rounded apart."""

_NORMALISATION = ("mean", "std")
_TIMM_NAME = re.compile(r"\btimm ([a-z0-9_]+)")


def load_network(folder: ModelFolder) -> Network:
    """A published network with its weights, proved to be that of the folder's graph.

    Args:
        folder: verified. Its card says which backbone it is: by the configuration of the run
            that ``chestx train`` made, by ``training.backbone`` (imported ones), or by the words
            ``timm NAME`` in ``training.architecture``.

    Raises:
        UsageError: the folder has no weights, its card does not say of which network they
            are, or they give other answers than the graph.
    """
    where = str(folder.identity)
    if folder.ensemble:
        raise UsageError(f"{where}: expected a single model, got an ensemble; take its members")
    if WEIGHTS not in folder.card.files:
        raise UsageError(
            f"{where}: expected a model with weights ({WEIGHTS}), its folder has none; only its "
            "graph could be published"
        )
    network = _build(folder.card, where)
    state = _rename(load_state(folder.path / WEIGHTS), network)
    own = network.state_dict()
    # Folders from before it stood among the weights have the backbone's own normalisation.
    state = {**{key: own[key] for key in _NORMALISATION}, **state}
    bad = [key for key in own if key not in state or state[key].shape != own[key].shape]
    if bad:
        raise UsageError(
            f"{where}: expected the weights of the backbone that the card names, {len(bad)} of "
            f"{len(own)} tensors are missing or of another shape, e.g. {bad[0]!r:.80}"
        )
    network.load_state_dict({key: state[key].to(value.dtype) for key, value in own.items()})
    _check_same(network.eval(), folder, where)
    return network


def encode_weights(state: Mapping[str, Tensor]) -> bytes:
    """Weights as a model folder keeps them: kernels in half precision.

    The few vectors stay as they are: variances do not survive the rounding.
    """
    return save(
        {
            name: (tensor.half() if tensor.ndim >= 2 else tensor).contiguous()
            for name, tensor in sorted(state.items())
        }
    )


def read_network_config(card: ModelCard, where: str) -> TrainConfig:
    """A configuration that makes the network of a card; the rest of it may be the defaults.

    Raises:
        UsageError: the card does not say which network it is.
    """
    run = card.training.get("run")
    table = run.get("config") if isinstance(run, dict) else None
    if isinstance(table, dict):
        return config_from_table(table, where=f"{where}, training.run.config")
    named = card.training.get("backbone")
    name = named if isinstance(named, str) else _read_architecture(card, where)
    return TrainConfig(manifest="", backbone=name)


def _build(card: ModelCard, where: str) -> Network:
    config = read_network_config(card, where)
    return build_network(
        config.backbone,
        labels=len(card.labels),
        hidden_features=config.hidden_features,
        output_stride=config.output_stride,
    )


def _read_architecture(card: ModelCard, where: str) -> str:
    found = _TIMM_NAME.search(str(card.training.get("architecture", "")))
    if not found:
        raise UsageError(
            f"{where}: expected its card to say which network it is, by training.run of chestx "
            "train or by 'timm NAME' in training.architecture; it says neither"
        )
    by_timm = {backbone.timm_name: name for name, backbone in BACKBONES.items()}
    return by_timm.get(found[1], found[1])


def _rename(state: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """Names of a bare timm classifier become those of a network: backbone and head."""
    if "head.weight" in state and all(
        f"backbone.{key}" in state for key in _list_backbone(network)
    ):
        return state
    renamed = {f"backbone.{key}": value for key, value in state.items()}
    for head in ("classifier", "fc", "head"):
        if f"{head}.weight" in state:
            for part in ("weight", "bias"):
                if f"{head}.{part}" in state:
                    renamed[f"head.{part}"] = state[f"{head}.{part}"]
            break
    return renamed


def _list_backbone(network: Network) -> list[str]:
    return list(network.backbone.state_dict())


@torch.no_grad()
def _check_same(network: Network, folder: ModelFolder, where: str) -> None:
    """On noise, up to what a softmax does not see."""
    size = folder.card.input.size
    pixels = np.random.default_rng(0).integers(0, 256, size=(2, 1, size, size), dtype=np.uint8)
    wanted = load_runtime(folder.graph).run(pixels).logits
    found = network(torch.from_numpy(pixels)).logits.numpy()
    if folder.card.activation == "softmax":
        wanted, found = (rows - rows.mean(axis=1, keepdims=True) for rows in (wanted, found))
    gap = float(np.abs(wanted - found).max() / max(float(np.abs(wanted).max()), 1e-6))
    if not gap <= SAME:
        raise UsageError(
            f"{where}: expected {WEIGHTS} to give the logits of its graph, they differ by "
            f"{gap:.1%}; the weights are of another network or need another preprocessing"
        )
