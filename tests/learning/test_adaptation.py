"""Batch-norm statistics of another place, without its labels."""

from __future__ import annotations

import copy
import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import save

from chestx import Classifier
from chestx.cli.app import run
from chestx.domain import (
    CAVEAT,
    Activation,
    Figure,
    InputSpec,
    Label,
    LabelRole,
    ModelCard,
    OperatingPoint,
    ScopeSpec,
    UsageError,
)
from chestx.learning.adaptation import adapt_model, adapt_network, read_site_images
from chestx.learning.backbones import Network, build_network
from chestx.learning.export import export_network
from chestx.learning.published import load_network
from chestx.learning.reference import make_known_answer
from chestx.models.card import card_to_json, render_card
from chestx.models.folder import ModelFolder, load_model_folder
from chestx.models.runtime import load_runtime
from chestx.models.scope import fit_reference

pytestmark = pytest.mark.torch

SIZE = 64
BACKBONE = "test_resnet"


def make_site(samples: Path, count: int) -> np.ndarray:
    """Two shipped radiographs in other exposures, with noise."""
    generator = np.random.default_rng(1)
    kept = []
    for name in ("adult-1-no-finding.png", "child-1-normal.jpg"):
        read = cv2.imread(str(samples / name), cv2.IMREAD_GRAYSCALE)
        assert read is not None
        image = cv2.resize(read, (192, 192))
        for _ in range(count // 2):
            noise = generator.normal(0, 5, image.shape)
            kept.append(np.clip(image * generator.uniform(0.7, 0.9) + noise, 0, 255))
    return np.stack(kept).astype(np.uint8)


@pytest.fixture(scope="module")
def site(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy images of a place, one that is no radiograph and one that is no image."""
    folder = tmp_path_factory.mktemp("site")
    for number, image in enumerate(make_site(samples, 70)):
        cv2.imwrite(str(folder / f"{number:03d}.png"), image)
    cv2.imwrite(str(folder / "empty.png"), np.zeros((192, 192), np.uint8))
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def pixels(samples: Path) -> np.ndarray:
    return np.stack([cv2.resize(image, (SIZE, SIZE)) for image in make_site(samples, 70)])


@pytest.fixture(scope="module")
def network(pixels: np.ndarray) -> Network:
    """Random weights that know how the images of their own place look."""
    torch.manual_seed(0)
    network = build_network(BACKBONE, labels=2)
    adapt_network(network, 255 - pixels, share=1.0, seed=0)
    return network


def make_card(network: Network, graph: bytes) -> ModelCard:
    del network
    point = OperatingPoint(0.4, 0.3, 0.6)
    normal = Label(key="NORMAL", display="no finding", role=LabelRole.NO_FINDING)
    figure = Figure(name="AUROC", subject="1 - P(NORMAL)", data="validation", value=0.9, n=10)
    return ModelCard(
        format_version=1,
        name="tiny",
        version="1.0",
        summary="A tiny model.",
        labels=(normal, Label(key="DENSE", display="dense lung", operating_point=point)),
        activation=Activation.SOFTMAX,
        temperature=0.7,
        input=InputSpec(size=SIZE),
        heatmap="cam",
        any_finding=point,
        scope=ScopeSpec(max_distance=3.0),
        embedding_size=load_runtime(graph).shape.features,
        intended_use="Tests.",
        not_looked_for="Everything else.",
        licence="None.",
        files={},
        performance=(figure,),
        training={"run": {"config": {"manifest": "m.csv", "backbone": BACKBONE, "size": SIZE}}},
    )


WriteModel = Callable[..., ModelFolder]


@pytest.fixture(scope="module")
def write_model(
    network: Network, pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> WriteModel:
    """Writes a whole model folder of the tiny network."""
    graph = export_network(copy.deepcopy(network), size=SIZE, activation=Activation.SOFTMAX)
    runtime = load_runtime(graph)
    generator = np.random.default_rng(0)
    sites = np.clip(pixels + generator.normal(0, 20, pixels.shape), 0, 255).astype(np.uint8)
    embedding = runtime.run((255 - sites)[:, None]).embedding
    arrays = {**fit_reference(embedding, components=4), **make_known_answer(runtime, SIZE)}
    plain = make_card(network, graph)

    def write(state: dict[str, object] | bool | None = True, **values: object) -> ModelFolder:
        folder = tmp_path_factory.mktemp("model")
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        card = replace(plain, **values)  # type: ignore[arg-type]
        parts = {
            "model.onnx": graph,
            "reference.npz": buffer.getvalue(),
            "README.md": render_card(card).encode(),
            "LICENSE": b"None.",
        }
        if state is not None:
            tensors = network.state_dict() if state is True else state
            parts["model.safetensors"] = save(tensors)  # type: ignore[arg-type]
        for name, data in parts.items():
            (folder / name).write_bytes(data)
        files = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
        (folder / "card.json").write_text(card_to_json(replace(card, files=files)), "utf-8")
        return load_model_folder(folder)

    return write


@pytest.fixture(scope="module")
def model(write_model: WriteModel) -> ModelFolder:
    return write_model()


def list_images(site: Path) -> list[str]:
    return [str(path) for path in sorted(site.iterdir())]


def find_first_norm(network: Network) -> torch.nn.BatchNorm2d:
    return next(x for x in network.modules() if isinstance(x, torch.nn.BatchNorm2d))


def read_mean(network: Network) -> torch.Tensor:
    mean = find_first_norm(network).running_mean
    assert mean is not None
    return mean


def test_statistics_are_those_of_all_images(network: Network, pixels: np.ndarray) -> None:
    adapted = copy.deepcopy(network)
    seen: list[torch.Tensor] = []
    norm = find_first_norm(adapted)
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    adapt_network(adapted, pixels, share=1.0, seed=0)
    hook.remove()
    values = torch.cat(seen).transpose(0, 1).flatten(1)
    assert len(pixels) > len(seen[0])
    torch.testing.assert_close(norm.running_mean, values.mean(1), rtol=1e-4, atol=1e-5)
    variance = values.var(1, unbiased=False)
    torch.testing.assert_close(norm.running_var, variance, rtol=1e-4, atol=1e-5)


def test_the_share_mixes_old_and_new_statistics(network: Network, pixels: np.ndarray) -> None:
    means = {0.0: read_mean(network)}
    for share in (0.25, 1.0):
        adapted = copy.deepcopy(network)
        adapt_network(adapted, pixels, share=share, seed=0)
        assert not adapted.training
        means[share] = read_mean(adapted)
    torch.testing.assert_close(means[0.25], 0.75 * means[0.0] + 0.25 * means[1.0])


def test_no_weight_changes_and_no_hook_stays(network: Network, pixels: np.ndarray) -> None:
    adapted = copy.deepcopy(network)
    adapt_network(adapted, pixels, share=0.5, seed=0)
    for name, parameter in adapted.named_parameters():
        assert torch.equal(parameter, network.get_parameter(name)), name
    state = copy.deepcopy(adapted.state_dict())
    adapted(torch.from_numpy(pixels[:4, None]))
    assert all(torch.equal(state[key], value) for key, value in adapted.state_dict().items())


def test_images_of_another_exposure_come_to_look_alike(
    network: Network, pixels: np.ndarray
) -> None:
    home, away = 255 - pixels, (255 - pixels) // 2 + 90
    adapted = copy.deepcopy(network)
    adapt_network(adapted, away, share=1.0, seed=0)
    with torch.no_grad():
        wanted = network(torch.from_numpy(home[:, None])).embedding
        before = network(torch.from_numpy(away[:, None])).embedding
        after = adapted(torch.from_numpy(away[:, None])).embedding
    assert (after - wanted).norm() < 0.5 * (before - wanted).norm()


def test_a_network_without_batch_norm_is_refused(pixels: np.ndarray) -> None:
    bare = Network(torch.nn.Conv2d(1, 3, 3), features=3, labels=2, mean=0.5, std=0.2)
    with pytest.raises(UsageError, match="expected a network with batch normalisation"):
        adapt_network(bare, pixels, share=0.5, seed=0)


def test_an_adapted_model_says_what_was_done(
    model: ModelFolder, site: Path, tmp_path: Path
) -> None:
    told: list[int] = []
    found = adapt_model(
        model,
        list_images(site),
        tmp_path / "new",
        site="Hospital B",
        workers=0,
        on_image=lambda: told.append(1),
    )
    assert (found.images, found.unreadable, len(told)) == (70, 1, 72)
    assert sum(found.refused.values()) == 1
    new = Classifier.load(tmp_path / "new", threads=1)
    new.check()
    card = new.card
    assert card.version == "1.0+adapted"
    assert (card.temperature, card.labels, card.scope) == (
        model.card.temperature,
        model.card.labels,
        model.card.scope,
    )
    assert "70 unlabelled images of Hospital B" in card.limitations[-1]
    assert "Nothing was validated there" in card.limitations[-1]
    assert card.performance[0].note == "of version 1.0, before it was adapted to Hospital B"
    assert card.training["adapted"] == {"from": "1.0", "to": "Hospital B", "share": 0.25}
    np.testing.assert_array_equal(new.folder.reference["mean"], model.reference["mean"])
    assert new.folder.reference["drift_probability_histogram"].sum(axis=1).tolist() == [70, 70]
    assert found.folder.graph != model.graph
    assert [move.key for move in found.moves] == ["any_finding", "DENSE"]
    assert found.moves[0].moved > 0
    assert found.too_far is not None


def test_an_adapted_model_can_be_adapted_again_and_gives_the_same_twice(
    model: ModelFolder, site: Path, tmp_path: Path
) -> None:
    paths = list_images(site)
    for name in ("a", "b"):
        adapt_model(model, paths, tmp_path / name, site="B", workers=0, most=70, seed=4)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert first == second
    again = load_network(load_model_folder(tmp_path / "a"))
    assert isinstance(again, Network)


def test_an_image_out_of_scope_by_its_file_is_left_out(model: ModelFolder, samples: Path) -> None:
    card = replace(model.card, scope=replace(model.card.scope, modalities=("MG",)))
    paths = [str(path) for path in sorted(samples.glob("*.dcm"))]
    images = read_site_images(card, paths, workers=0, on_image=lambda: None)
    assert images.refused == {"modality": len(paths)}
    assert len(images.pixels) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "share: expected above 0 up to 1, got 0"),
        ({"share": float("nan")}, "share: expected above 0 up to 1, got nan"),
        ({"most": 10}, "expected a sample of 64 or more, got 10"),
        ({"site": " "}, "site: expected 1 to 200 characters"),
        ({"version": "x" * 99}, "version: expected 1 to 64"),
    ],
)
def test_options_out_of_range_are_refused(
    model: ModelFolder, site: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        adapt_model(
            model,
            list_images(site),
            tmp_path / "new",
            **({"site": "B"} | options),  # type: ignore[arg-type]
        )
    assert not (tmp_path / "new").exists()


def test_too_few_images_are_refused(model: ModelFolder, site: Path, tmp_path: Path) -> None:
    paths = list_images(site)[60:]
    with pytest.raises(UsageError, match=r"expected 64 or more .* got 10 of 12 .*1 unreadable"):
        adapt_model(model, paths, tmp_path / "new", site="B", workers=0)
    with pytest.raises(UsageError, match="expected a name that is free"):
        adapt_model(model, paths, tmp_path, site="B", workers=0)


def test_weights_that_cannot_be_used_are_refused(write_model: WriteModel, network: Network) -> None:
    state = dict(network.state_dict())
    other = {**state, "head.weight": state["head.weight"] * 3}
    part = {key: value for key, value in state.items() if "running_var" not in key}
    for model, message in (
        (write_model(None), r"expected a model with weights \(model.safetensors\)"),
        (write_model(other), "to give the logits of its graph, they differ by"),
        (write_model(part), "tensors are missing or of another shape"),
        (write_model(training={}), "expected its card to say which network it is"),
        (write_model(training={"architecture": "timm no_such_net"}), "expected one of densenet121"),
        (replace(write_model(), ensemble="{}"), "expected a single model, got an ensemble"),
    ):
        with pytest.raises(UsageError, match=message):
            load_network(model)


def test_a_bare_timm_classifier_is_read_by_the_name_in_its_card(
    write_model: WriteModel, network: Network
) -> None:
    bare = {
        key.removeprefix("backbone.").replace("head.", "fc."): value
        for key, value in network.state_dict().items()
    }
    model = write_model(bare, training={"architecture": f"small (timm {BACKBONE})"})
    assert torch.equal(load_network(model).head.weight, network.head.weight)


def test_the_shipped_model_can_be_taken_up_again(classifier: Classifier) -> None:
    assert load_network(classifier.folder).head.out_features == 3


def test_the_command_adapts_and_says_how_far_scores_moved(
    model: ModelFolder, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["adapt", str(model.path), str(site), "-o", str(tmp_path / "new")]
    assert run([*arguments, "--site", "B", "--share", "0.25", "--workers", "0"]) == 0
    said = capsys.readouterr().out
    assert "looked at 70 images, 1 refused as" in said
    assert "1 unreadable" in said
    assert re.search(r"DENSE: mean probability 0\.\d+ -> 0\.\d+, moved by 0\.\d+ on average", said)
    assert "too far from the training images:" in said
    assert CAVEAT in said
    assert run(arguments) == 2
    assert "expected a name that is free" in capsys.readouterr().err
