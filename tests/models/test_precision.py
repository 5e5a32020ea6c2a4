"""A variant runs only where a card keeps it, and never in place of what was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chestx import Classifier
from chestx.domain import (
    ChestxError,
    Figure,
    InvalidModelError,
    ModelCard,
    OperatingPoint,
    Precision,
    PrecisionFigure,
    PrecisionMeasure,
    PrecisionVariant,
    UsageError,
)
from chestx.models import runtime as runtime_module
from chestx.models.card import card_from_json, card_to_json, render_card
from chestx.models.classifier import load_network
from chestx.models.derive import derive_model_folder
from chestx.models.devices import Device, check_started, choose_providers
from chestx.models.folder import INT8_MODEL, ModelFolder, load_model_folder
from chestx.models.precision import (
    check_kept,
    check_native_bf16,
    parse_precision,
    parse_variants,
)
from chestx.models.runtime import RuntimeKind, import_openvino, load_runtime
from chestx.models.site import SiteProfile

GOOD = PrecisionFigure(
    measure=PrecisionMeasure.DECISIONS_ALIKE,
    slice_key="source=north",
    subject="PNEUMONIA",
    value=0.997,
    limit=0.995,
    n=300,
)
BAD = replace(GOOD, measure=PrecisionMeasure.PROBABILITY_CHANGE, value=0.05, limit=0.02)


def make_variant(precision: Precision = Precision.BF16, **changes: Any) -> PrecisionVariant:
    values: dict[str, Any] = {
        "precision": precision,
        "kept": True,
        "data": "made up, split validation",
        "images": 300,
        "figures": (GOOD,),
        "known_gap": 0.1,
        "speed": 1.5,
        "made_by": "a test",
    }
    return PrecisionVariant(**values | changes)


@pytest.fixture(scope="module")
def has_bf16() -> bool:
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities


@pytest.fixture(scope="module")
def both(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """The shipped model as if both variants had been kept; its int8 graph is the plain one."""
    folder = classifier.folder
    variants = (make_variant(), make_variant(Precision.INT8, known_gap=0.0))
    return derive_model_folder(
        folder,
        tmp_path_factory.mktemp("models") / "both",
        card=replace(folder.card, precisions=variants),
        contents={INT8_MODEL: folder.graph},
    )


def test_a_card_with_variants_survives_the_round_trip(card: ModelCard) -> None:
    refused = make_variant(Precision.INT8, kept=False, figures=(GOOD, BAD))
    changed = replace(card, precisions=(make_variant(), refused))
    assert card_from_json(card_to_json(changed)) == changed
    assert changed.find_precision(Precision.INT8) == refused


def test_a_card_without_variants_reads_and_is_written_as_before(card: ModelCard) -> None:
    document = json.loads(card_to_json(card))
    assert "precisions" not in document
    assert card_from_json(json.dumps(document)).precisions == ()
    assert "## Precision" not in render_card(card)


def test_the_page_of_a_card_tells_what_was_kept_and_what_was_refused_and_why(
    card: ModelCard,
) -> None:
    refused = make_variant(Precision.INT8, kept=False, figures=(GOOD, BAD))
    text = render_card(replace(card, precisions=(make_variant(), refused)))
    assert "**bf16** (1.50 times as fast on one thread; a test)" in text
    assert "kept; all 1 figures are within their limits." in text
    assert "**refused; it cannot be run.** 1 of 2 figures are beyond their limits" in text
    assert "- probability change of PNEUMONIA on source=north (300 images): 0.0500" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kept": False}, "bf16: kept goes with figures that are all within their limits"),
        ({"figures": ()}, "kept goes with figures"),
        ({"figures": (GOOD, BAD)}, "kept goes with figures"),
        ({"precision": Precision.F32}, "expected variants, got f32"),
        ({"speed": 0.0}, "a positive speed"),
        ({"known_gap": -1.0}, "known_gap of 0 or more"),
        ({"made_by": "\x1b[2J"}, "bf16 made_by: expected at most"),
    ],
)
def test_evidence_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_variant(**change)


def test_figures_know_their_side_of_the_limit(card: ModelCard) -> None:
    change = replace(GOOD, measure=PrecisionMeasure.AUROC_CHANGE, value=-0.003, limit=0.002)
    assert not change.holds
    assert replace(change, value=-0.002).holds
    assert GOOD.holds
    assert not replace(GOOD, value=0.99).holds
    worst = make_variant(kept=False, figures=(change, BAD)).failed
    assert worst == (BAD, change)
    with pytest.raises(ValueError, match="expected a finite value, a positive limit and images"):
        replace(GOOD, value=float("nan"))
    with pytest.raises(ValueError, match="precisions: expected none twice, got bf16, bf16"):
        replace(card, precisions=(make_variant(), make_variant()))


def test_a_flag_in_a_card_must_be_true_or_false(card: ModelCard) -> None:
    document = json.loads(card_to_json(replace(card, precisions=(make_variant(),))))
    document["precisions"][0]["kept"] = 1
    with pytest.raises(InvalidModelError, match=r"kept: expected true or false, got 1 \(int\)"):
        card_from_json(json.dumps(document))


def test_names_of_precisions_are_checked() -> None:
    assert parse_variants("int8, BF16,int8") == (Precision.INT8, Precision.BF16)
    assert parse_variants("") == ()
    with pytest.raises(UsageError, match="precision: expected f32, bf16, int8, got 'f64'"):
        parse_precision("f64")
    with pytest.raises(UsageError, match="got f32, which every model has"):
        parse_variants("f32")


def test_only_what_a_card_keeps_may_run(card: ModelCard, classifier: Classifier) -> None:
    check_kept(card, Precision.F32)
    check_kept(replace(card, precisions=(make_variant(),)), Precision.BF16)
    with pytest.raises(UsageError, match="was not tried for this model; chestx model optimize"):
        Classifier.load(precision="bf16")
    refused = make_variant(kept=False, figures=(GOOD, BAD, replace(BAD, value=0.03)))
    with pytest.raises(
        UsageError,
        match=r"try-out 2\.1: precision bf16 was tried on 300 images and refused: probability "
        r"change of PNEUMONIA on source=north \(300 images\): 0\.0500, wanted <= 0\.02, and 1 more",
    ):
        check_kept(replace(card, precisions=(refused,)), Precision.BF16)


def test_a_processor_without_bfloat16_is_refused() -> None:
    check_native_bf16(["FP32", "BF16"], "A new one")
    with pytest.raises(ChestxError, match=r"expected a processor with bfloat16 .* got An old one"):
        check_native_bf16(["FP32", "INT8"], "An old one")


def test_bf16_is_computed_in_bf16_or_not_at_all(classifier: Classifier, has_bf16: bool) -> None:
    graph = classifier.folder.graph
    if not has_bf16:
        with pytest.raises(ChestxError, match="expected a processor with bfloat16"):
            load_runtime(graph, precision=Precision.BF16)
        return
    pixels = classifier.folder.reference["known_pixels"][:1, None]
    first = np.stack([one.logits for one in classifier.predict(pixels[:, 0])])
    second = load_runtime(graph, precision=Precision.BF16).run(pixels).logits
    assert 1e-4 < np.abs(first - second).max() < 0.5


def test_a_precision_that_openvino_gives_in_place_of_another_is_refused(
    classifier: Classifier, has_bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_bf16:
        pytest.skip("no bfloat16 here")
    make = runtime_module._openvino_options
    monkeypatch.setattr(
        runtime_module,
        "_openvino_options",
        lambda request: make(replace(request, precision=Precision.F32)),
    )
    with pytest.raises(ChestxError, match=r"precision bf16: OpenVINO computes in .*float32"):
        load_runtime(classifier.folder.graph, precision=Precision.BF16)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("openvino", {"device": Device.CUDA}, "device cuda: expected the runtime onnxruntime"),
        ("onnxruntime", {"precision": Precision.BF16}, "bf16: expected the runtime openvino"),
    ],
)
def test_what_a_library_cannot_do_is_refused(
    classifier: Classifier, kind: RuntimeKind, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load_runtime(classifier.folder.graph, kind=kind, **options)


def test_a_graphics_card_that_is_not_there_is_refused(classifier: Classifier) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime is built for graphics cards")
    with pytest.raises(UsageError, match="expected an onnxruntime with CUDAExecutionProvider"):
        Classifier.load(runtime="onnxruntime", device=Device.CUDA, threads=1)


def test_providers_begin_with_the_one_asked_for() -> None:
    installed = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def names(device: Device) -> list[str]:
        found = choose_providers(device, installed, precision=Precision.F32)
        return [name for name, _ in found]

    assert names(Device.CPU) == installed[2:]
    assert names(Device.CUDA) == installed[1:]
    assert names(Device.TENSORRT) == installed
    with pytest.raises(UsageError, match="device cuda: expected precision f32, got int8"):
        choose_providers(Device.CUDA, installed, precision=Precision.INT8)
    check_started(Device.CUDA, installed[1:])
    with pytest.raises(UsageError, match="fell back to CPUExecutionProvider"):
        check_started(Device.CUDA, installed[2:])


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
def test_a_kept_int8_graph_runs_and_signs_what_it_says(
    both: ModelFolder, classifier: Classifier, kind: RuntimeKind
) -> None:
    found = Classifier.load(both.path, precision="int8", runtime=kind, threads=1)
    assert found.identity == replace(both.identity, precision="int8")
    found.check()
    pixels = both.reference["known_pixels"]
    ours, theirs = found.predict(pixels), classifier.predict(pixels)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-3)
        assert one.maps.shape == other.maps.shape


def test_a_profile_of_one_precision_is_refused_at_another(both: ModelFolder) -> None:
    point = OperatingPoint(0.6, 0.55, 0.65)
    profile = SiteProfile(
        format_version=1,
        site="North",
        model_name=both.identity.name,
        model_version=both.identity.version,
        model_checksum=both.identity.checksum,
        model_precision="f32",
        temperature=1.5,
        operating_points={"any_finding": point, "PNEUMONIA": point, "COVID19": point},
        chosen_on="images",
        accepted_on="others",
        performance=(Figure(name="AUROC", subject="a", data="b", value=0.9, n=9),),
        criteria=(),
        manifest_sha256="0" * 64,
        signed_by="Dr. Example",
        signed_on="2026-01-31",
        software="0.1.0",
    )
    network = load_network(both, precision=Precision.INT8)
    with pytest.raises(UsageError, match=r"it belongs to .*, f32\), got .* at int8; commission"):
        Classifier(both, network, precision=Precision.INT8, site_profile=profile)
    fitting = replace(profile, model_precision="int8")
    fitted = Classifier(both, network, precision=Precision.INT8, site_profile=fitting)
    assert (fitted.identity.precision, fitted.identity.site) == ("int8", "North")


def test_a_variant_that_drifts_from_where_it_was_measured_fails_the_check(
    both: ModelFolder, has_bf16: bool
) -> None:
    if not has_bf16:
        pytest.skip("no bfloat16 here")
    network = load_runtime(both.graph, precision=Precision.BF16)
    Classifier(both, network, precision=Precision.BF16).check()
    strict = replace(both.card, precisions=(make_variant(known_gap=0.0),))
    found = Classifier(replace(both, card=strict), network, precision=Precision.BF16)
    with pytest.raises(InvalidModelError, match="got some that differ by"):
        found.check()


def test_variants_stay_only_with_what_they_were_compared_with(
    both: ModelFolder, tmp_path: Path
) -> None:
    renamed = derive_model_folder(both, tmp_path / "a", card=replace(both.card, version="9"))
    assert renamed.card.precisions == both.card.precisions
    assert renamed.int8_graph == both.int8_graph
    hotter = derive_model_folder(both, tmp_path / "b", card=replace(both.card, temperature=2.0))
    assert hotter.card.precisions == ()
    assert INT8_MODEL not in hotter.card.files
    assert not (tmp_path / "b" / INT8_MODEL).exists()


@pytest.mark.parametrize("listed", [True, False])
def test_the_int8_graph_goes_with_its_evidence(
    write_folder: Callable[..., Path], listed: bool
) -> None:
    path = write_folder(**({"model__int8__onnx": b"graph"} if listed else {}))
    text = (path / "card.json").read_text(encoding="utf-8")
    if not listed:
        card = replace(card_from_json(text), precisions=(make_variant(Precision.INT8),))
        (path / "card.json").write_text(card_to_json(card), encoding="utf-8")
    with pytest.raises(InvalidModelError, match=r"expected model\.int8\.onnx in files where int8"):
        load_model_folder(path)
