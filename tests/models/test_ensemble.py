"""Several networks or views answer as one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from chestx import Classifier
from chestx.domain import (
    Activation,
    ChestxError,
    InputSpec,
    InvalidModelError,
    ModelCard,
    Precision,
    PrecisionFigure,
    PrecisionMeasure,
    PrecisionVariant,
    ScopeSpec,
    UsageError,
)
from chestx.models.card import card_to_json
from chestx.models.classifier import apply_temperature
from chestx.models.derive import derive_model_folder
from chestx.models.ensemble import (
    EnsembleMember,
    EnsembleReference,
    EnsembleRuntime,
    EnsembleSpec,
    View,
    apply_view,
    restore_maps,
)
from chestx.models.folder import ModelFolder, list_model_folders, load_model_folder
from chestx.models.join import join_models
from chestx.models.runtime import GraphShape, Outputs

SIZE = 224


class Drawn:
    """A runtime whose maps show where the image is bright, and whose logits are given."""

    def __init__(self, logits: list[float], *, map_size: int = 14, features: int = 4) -> None:
        self._logits = np.array(logits, np.float32)
        self._shape = GraphShape(SIZE, len(logits), features, (map_size, map_size))

    @property
    def shape(self) -> GraphShape:
        return self._shape

    def run(self, pixels: np.ndarray) -> Outputs:
        side = self._shape.map_size
        maps = [
            np.repeat(
                cv2.resize(x[0], side, interpolation=cv2.INTER_AREA)[None], len(self._logits), 0
            )
            for x in pixels.astype(np.float32)
        ]
        count = len(pixels)
        return Outputs(
            logits=np.repeat(self._logits[None], count, 0),
            embedding=np.full((count, self._shape.features), pixels[0, 0, 0, 0], np.float32),
            maps=np.stack(maps),
        )


def _join(
    card: ModelCard, logits: list[list[float]], *, views: tuple[View, ...] = (View.PLAIN,)
) -> EnsembleRuntime:
    names = [str(i) for i in range(len(logits))]
    return EnsembleRuntime(
        EnsembleSpec(tuple(EnsembleMember(name, views) for name in names)),
        dict.fromkeys(names, card),
        {name: Drawn(row) for name, row in zip(names, logits, strict=True)},
    )


def _independent(card: ModelCard) -> ModelCard:
    labels = tuple(label for label in card.labels if label.operating_point)
    return replace(card, labels=labels, activation=Activation.SIGMOID, any_finding=None)


@pytest.fixture
def dark() -> np.ndarray:
    return np.zeros((2, 1, SIZE, SIZE), np.uint8)


@pytest.fixture(scope="module")
def variant(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """The shipped network under another temperature, other scales and no caveat."""
    card = classifier.card
    labels = tuple(
        replace(label, map_scale=2 * label.map_scale, caveat="Another caveat.")
        for label in card.labels
    )
    card = replace(
        card,
        name="variant",
        temperature=3 * card.temperature,
        labels=labels,
        scope=replace(card.scope, modalities=("DX", "XA"), max_distance=1.0, max_age_years=90.0),
    )
    out = tmp_path_factory.mktemp("variant") / "variant"
    return derive_model_folder(classifier.folder, out, card=card)


@pytest.fixture(scope="module")
def joined(
    classifier: Classifier, variant: ModelFolder, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("joined") / "pair"
    join_models([classifier.folder, variant], out, views=[View.PLAIN, View.FLIP], name="pair")
    return out


@pytest.fixture
def copied(joined: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(joined, tmp_path / "copied"))


def _change_card(folder: Path, change: Callable[[dict[str, str]], None]) -> None:
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    change(card["files"])
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")


def test_probabilities_are_the_mean_of_the_calibrated_ones(
    card: ModelCard, dark: np.ndarray
) -> None:
    rows = [[2.0, -1.0, 0.5], [-3.0, 4.0, 1.0], [0.0, 0.0, 0.0]]
    outputs = _join(card, rows).run(dark)
    wanted = apply_temperature(np.array(rows, np.float32), card).mean(axis=0)
    found = apply_temperature(outputs.logits, replace(card, temperature=1.0))
    np.testing.assert_allclose(found, [wanted, wanted], atol=1e-6)
    assert outputs.embedding.shape == (2, 12)


def test_probabilities_of_independent_labels_are_averaged_one_by_one(
    card: ModelCard, dark: np.ndarray
) -> None:
    card = _independent(card)
    rows = [[2.0, -1.0], [-30.0, 4.0]]
    outputs = _join(card, rows).run(dark)
    wanted = apply_temperature(np.array(rows, np.float32), card).mean(axis=0)
    found = apply_temperature(outputs.logits, replace(card, temperature=1.0))
    np.testing.assert_allclose(found[0], wanted, atol=1e-6)


@pytest.mark.parametrize("is_independent", [False, True])
def test_certain_members_stay_finite(
    card: ModelCard, dark: np.ndarray, is_independent: bool
) -> None:
    card = _independent(card) if is_independent else card
    rows = [[800.0, -800.0, 0.0][: len(card.labels)]] * 2
    logits = _join(card, rows).run(dark).logits
    assert np.isfinite(logits).all()
    assert logits[0, 0] > 100


def test_a_member_that_gives_no_number_is_not_hidden(card: ModelCard, dark: np.ndarray) -> None:
    logits = _join(card, [[np.nan, 0.0, 0.0], [1.0, 0.0, 0.0]]).run(dark).logits
    with pytest.raises(ChestxError, match="expected finite logits"):
        apply_temperature(logits, card)


@pytest.mark.parametrize("view", View)
def test_a_map_of_a_view_lands_where_the_image_has_it(card: ModelCard, view: View) -> None:
    pixels = np.zeros((1, 1, SIZE, SIZE), np.uint8)
    pixels[..., 64:96, 32:64] = 240
    network = Drawn([0.0, 0.0, 0.0])
    plain = network.run(pixels).maps[0, 0]
    restored = restore_maps(view, network.run(apply_view(view, pixels)).maps)[0, 0]
    rows, columns = np.mgrid[0:14, 0:14]
    for places in (rows, columns):
        centres = [float((places * image).sum() / image.sum()) for image in (plain, restored)]
        assert abs(centres[0] - centres[1]) < 0.1
    assert restored[:, :7].sum() > 20 * restored[:, 7:].sum()


def test_where_a_view_did_not_look_its_map_says_nothing() -> None:
    restored = restore_maps(View.ZOOM, np.ones((1, 1, 28, 28), np.float32))
    assert restored[0, 0, 0].max() == 0
    assert restored[0, 0, 14, 14] == 1


def test_with_both_sides_seen_a_flipped_image_has_the_flipped_map(
    classifier: Classifier, joined: Path, samples: Path
) -> None:
    image = cv2.imread(str(samples / "adult-3-pneumonia.jpg"), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    pixels = cv2.resize(image, (SIZE, SIZE))
    one, other = Classifier.load(joined, threads=1).predict(np.stack([pixels, pixels[:, ::-1]]))
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
    np.testing.assert_allclose(one.maps, other.maps[..., ::-1], atol=1e-4)


def test_maps_are_averaged_in_units_of_each_members_full_strength(
    card: ModelCard, dark: np.ndarray
) -> None:
    doubled = replace(
        card, labels=tuple(replace(x, map_scale=2 * x.map_scale) for x in card.labels)
    )
    spec = EnsembleSpec(tuple(EnsembleMember(name, (View.PLAIN,)) for name in "ab"))
    runtime = EnsembleRuntime(
        spec,
        {"a": card, "b": doubled},
        {"a": Drawn([0.0] * 3), "b": Drawn([0.0] * 3, map_size=7)},
    )
    assert runtime.shape.map_size == (14, 14)
    maps = runtime.run(dark + 70).maps
    for index, label in enumerate(card.labels):
        np.testing.assert_allclose(maps[0, index], 0.75 * 70 / label.map_scale, rtol=1e-5)


def test_members_that_are_explained_by_occlusion_give_no_maps_here(
    card: ModelCard, dark: np.ndarray
) -> None:
    runtime = _join(replace(card, heatmap="occlusion"), [[0.0] * 3] * 2)
    assert runtime.shape.map_size == (0, 0)
    assert runtime.run(dark).maps.shape == (2, 3, 0, 0)


def test_an_ensemble_is_a_model_like_any_other(
    classifier: Classifier, variant: ModelFolder, joined: Path, samples: Path
) -> None:
    ensemble = Classifier.load(joined, threads=1)
    ensemble.check()
    card = ensemble.card
    assert card.name == "pair"
    assert card.embedding_size == 2 * classifier.card.embedding_size
    assert card.labels[1].map_scale == 1.0
    own, first = card.labels[1].operating_point, classifier.card.labels[1].operating_point
    assert own is not None
    assert first is not None
    assert own.threshold == pytest.approx(first.threshold, abs=1e-6)
    assert own.uncertain_low == pytest.approx(first.uncertain_low, abs=1e-6)
    assert own.uncertain_high == pytest.approx(first.uncertain_high, abs=1e-6)
    assert card.scope == ScopeSpec(
        modalities=("DX",),
        body_parts=classifier.card.scope.body_parts,
        views=classifier.card.scope.views,
        min_age_years=1.0,
        max_age_years=90.0,
        max_distance=1.0,
    )
    assert card.performance == ()
    assert "Nothing was measured of this ensemble" in card.limitations[-3]
    assert "left and right swapped" in card.limitations[-1]
    image = cv2.imread(str(samples / "child-1-normal.jpg"), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    pixels = np.stack([cv2.resize(image, (SIZE, SIZE))])
    views = np.concatenate([pixels, pixels[..., ::-1]])
    logits = np.stack([prediction.logits for prediction in classifier.predict(views)])
    wanted = np.mean(
        [apply_temperature(logits, m) for m in (classifier.card, variant.card)], axis=(0, 1)
    )
    [prediction] = ensemble.predict(pixels)
    np.testing.assert_allclose(prediction.probabilities, wanted, atol=1e-5)


def test_each_member_judges_by_its_own_limit(classifier: Classifier, joined: Path) -> None:
    ensemble = Classifier.load(joined, threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE), dtype=np.uint8)
    [prediction] = ensemble.predict(pixels)
    limit = classifier.card.scope.max_distance
    assert limit is not None
    alone = classifier.measure_distance(classifier.predict(pixels)[0].embedding)
    # The other member has the same network and the smaller limit of 1.
    assert alone is not None
    assert ensemble.measure_distance(prediction.embedding) == pytest.approx(alone / min(limit, 1.0))


def test_without_limits_there_is_no_distance(joined: Path) -> None:
    folder = load_model_folder(joined)
    members = {
        name: replace(
            member, card=replace(member.card, scope=replace(member.card.scope, max_distance=None))
        )
        for name, member in folder.members.items()
    }
    assert EnsembleReference.from_folder(replace(folder, members=members)) is None


def test_another_card_keeps_the_members(joined: Path, tmp_path: Path) -> None:
    folder = load_model_folder(joined)
    card = replace(folder.card, version="2", temperature=0.9)
    derived = derive_model_folder(folder, tmp_path / "new", card=card)
    assert derived.identity.checksum != folder.identity.checksum
    assert [*derived.members] == ["1", "2"]
    Classifier.load(tmp_path / "new", threads=1).check()


def test_an_ensemble_is_listed(joined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHESTX_MODELS", str(joined.parent))
    assert "pair" in [folder.identity.name for folder in list_model_folders()]


def test_the_licence_names_whose_it_is(joined: Path) -> None:
    assert (joined / "LICENSE").read_text(encoding="utf-8").startswith("For members/1, members/2:")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("members/1/model.onnx", "members/1/model.onnx: expected the sha256"),
        ("members/2/card.json", "members/2: expected the member whose files"),
        ("ensemble.json", "ensemble.json: expected the sha256"),
    ],
)
def test_a_changed_part_is_refused(copied: Path, place: str, message: str) -> None:
    data = (copied / place).read_bytes()
    (copied / place).write_bytes(data[:-1] + b" ")
    with pytest.raises(InvalidModelError, match=message):
        load_model_folder(copied)


def test_a_member_that_is_missing_is_refused(copied: Path) -> None:
    shutil.rmtree(copied / "members" / "2")
    with pytest.raises(InvalidModelError, match=r"expected a folder, got none at .*members/2"):
        load_model_folder(copied)


@pytest.mark.parametrize(
    "name",
    ["members/../card.json", "members/1/../../x", "/etc/passwd", "members/1/a/b", "other/1/x"],
)
def test_names_that_lead_elsewhere_are_refused(copied: Path, name: str) -> None:
    _change_card(copied, lambda files: files.update({name: "0" * 64}))
    with pytest.raises(InvalidModelError, match="expected plain file names"):
        load_model_folder(copied)


def test_only_an_ensemble_lists_files_of_members(write_folder: Callable[..., Path]) -> None:
    folder = write_folder()
    _change_card(folder, lambda files: files.update({"members/1/x": "0" * 64}))
    with pytest.raises(InvalidModelError, match="expected plain file names in files"):
        load_model_folder(folder)


def test_a_graph_beside_members_is_refused(copied: Path) -> None:
    _change_card(copied, lambda files: files.update({"model.onnx": "0" * 64}))
    with pytest.raises(
        InvalidModelError, match=r"expected model.onnx or ensemble.json .* got both"
    ):
        load_model_folder(copied)


def test_too_many_members_are_refused(copied: Path) -> None:
    _change_card(
        copied, lambda files: files.update({f"members/{i}/x": "0" * 64 for i in range(20)})
    )
    with pytest.raises(InvalidModelError, match="expected at most 16 members, got 20"):
        load_model_folder(copied)


def test_an_ensemble_in_an_ensemble_is_refused(copied: Path) -> None:
    member = copied / "members" / "1"
    _change_card(member, lambda files: files.update({"ensemble.json": "0" * 64}))
    import hashlib

    checksum = hashlib.sha256((member / "card.json").read_bytes()).hexdigest()

    def change(files: dict[str, str]) -> None:
        files["members/1/card.json"] = checksum
        files["members/1/ensemble.json"] = "0" * 64

    _change_card(copied, change)
    with pytest.raises(InvalidModelError, match="expected a single model, got an ensemble in one"):
        load_model_folder(copied)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"members": []}', "expected at least one and no name twice"),
        ('{"members": [{"name": "1", "views": ["flip"]}]}', "expected plain among them"),
        (
            '{"members": [{"name": "1", "views": ["plain", "upside_down"]}]}',
            "expected one of plain",
        ),
        ('{"members": [{"name": "1", "views": ["plain"]}]}', "expected the members whose files"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(joined: Path, text: str, message: str) -> None:
    from chestx.models.ensemble import load_ensemble

    folder = replace(load_model_folder(joined), ensemble=text)
    with pytest.raises(InvalidModelError, match=message):
        load_ensemble(folder)


def test_a_member_with_other_labels_is_refused(joined: Path) -> None:
    from chestx.models.ensemble import load_ensemble

    folder = load_model_folder(joined)
    turned = replace(folder, card=replace(folder.card, labels=folder.card.labels[::-1]))
    with pytest.raises(InvalidModelError, match=r"member 1 .*expected the labels COVID19"):
        load_ensemble(turned)
    smaller = replace(folder.members["1"].card, embedding_size=3)
    members = {**folder.members, "1": replace(folder.members["1"], card=smaller)}
    with pytest.raises(InvalidModelError, match="member 1: expected a graph of input size"):
        load_ensemble(replace(folder, members=members))
    with pytest.raises(InvalidModelError, match="expected embeddings of 3 features"):
        EnsembleReference.from_folder(replace(folder, members=members))


def test_what_cannot_be_joined_is_named(
    classifier: Classifier, variant: ModelFolder, joined: Path, tmp_path: Path
) -> None:
    folder = classifier.folder

    def refuse(members: list[ModelFolder], message: str, views: tuple[View, ...] = ()) -> None:
        with pytest.raises(UsageError, match=message):
            join_models(members, tmp_path / "new", views=views or (View.PLAIN,))
        assert not (tmp_path / "new").exists()

    def change(**values: object) -> ModelFolder:
        return replace(variant, card=replace(variant.card, **values))  # type: ignore[arg-type]

    refuse([folder], "expected 2 to 16 models, or one that sees several views, got 1")
    refuse([folder, folder], "it is named twice")
    refuse([folder, load_model_folder(joined)], "expected a single model, got an ensemble")
    refuse(
        [folder, change(labels=folder.card.labels[::-1])], r"variant .*cannot be joined .*labels"
    )
    refuse([folder, change(input=InputSpec(size=256))], "expected the same preprocessing")
    refuse([replace(folder, reference={}), variant], "expected known_logits and known_pixels")
    refuse([folder], "expected plain among them", (View.FLIP, View.ZOOM))
    refuse(
        [folder, change(scope=ScopeSpec(modalities=("MG",)))],
        "expected modalities that every member accepts, there are none",
    )
    independent = _independent(folder.card)
    refuse(
        [
            replace(folder, card=replace(independent, activation=Activation.SOFTMAX)),
            replace(variant, card=independent),
        ],
        "expected labels of a softmax, got sigmoid",
    )
    with pytest.raises(UsageError, match="expected a name that is free"):
        join_models([folder, variant], joined)


def test_a_member_that_changed_meanwhile_is_refused(
    classifier: Classifier, variant: ModelFolder, tmp_path: Path
) -> None:
    shutil.copytree(variant.path, tmp_path / "old")
    folder = load_model_folder(tmp_path / "old")
    (tmp_path / "old" / "LICENSE").write_text("anything goes", encoding="utf-8")
    with pytest.raises(InvalidModelError, match="LICENSE: it was changed while it was copied"):
        join_models([classifier.folder, folder], tmp_path / "new")
    assert [item.name for item in tmp_path.iterdir()] == ["old"]


def test_variants_that_were_measured_of_a_member_are_not_the_ensembles(
    classifier: Classifier, variant: ModelFolder, tmp_path: Path
) -> None:
    figure = PrecisionFigure(
        measure=PrecisionMeasure.AUROC_CHANGE,
        slice_key="all",
        subject="PNEUMONIA",
        value=0.001,
        limit=0.01,
        n=900,
    )
    measured = PrecisionVariant(
        precision=Precision.INT8,
        kept=True,
        data="validation images",
        images=900,
        figures=(figure,),
        known_gap=0.1,
        speed=1.4,
        made_by="a test",
    )
    first = replace(classifier.folder, card=replace(classifier.card, precisions=(measured,)))
    assert join_models([first, variant], tmp_path / "new").card.precisions == ()


def test_members_without_heatmaps_leave_the_ensemble_without(
    classifier: Classifier, variant: ModelFolder, tmp_path: Path
) -> None:
    card = replace(variant.card, heatmap="none")
    other = derive_model_folder(variant, tmp_path / "other", card=card)
    found = join_models([classifier.folder, other], tmp_path / "new")
    assert found.card.heatmap == "none"
    assert card_to_json(found.card)
