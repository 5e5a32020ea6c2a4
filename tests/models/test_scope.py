"""A model answers for what it was made for; everything else is refused with the reason."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chestx.domain import (
    ImageHeader,
    InvalidModelError,
    ModelCard,
    Quality,
    ScopeReason,
    ScopeSpec,
)
from chestx.models.scope import Reference, assess_scope, fit_reference

HEADER = ImageHeader(format="DICOM", rows=300, columns=300, age_years=40.0)
SCOPE = ScopeSpec(
    modalities=("CR", "DX"),
    body_parts=("CHEST",),
    views=("PA", "AP"),
    min_age_years=1.0,
    max_age_years=90.0,
    max_distance=2.0,
)


@pytest.fixture
def scoped(card: ModelCard) -> ModelCard:
    return replace(card, scope=SCOPE)


def judge(
    card: ModelCard, *, distance: float | None = 1.0, **header: object
) -> tuple[tuple[ScopeReason, ...], tuple[str, ...]]:
    changed = replace(HEADER, **header)  # type: ignore[arg-type]
    return assess_scope(card, changed, Quality(), distance=distance)


def test_a_header_that_fits_is_in_scope(scoped: ModelCard) -> None:
    reasons, flags = judge(scoped, modality="DX", body_part_examined="CHEST", view_position="PA")
    assert (reasons, flags) == ((), ())


def test_a_header_that_states_nothing_is_in_scope(scoped: ModelCard) -> None:
    assert judge(scoped) == ((), ())


@pytest.mark.parametrize("view", [" pa ", "Pa", "AP"])
def test_case_and_spaces_do_not_matter(scoped: ModelCard, view: str) -> None:
    assert judge(scoped, view_position=view, modality="cr ", body_part_examined=" Chest")[0] == ()


@pytest.mark.parametrize(
    ("part", "view"), [("PORT. CHEST", "AP SUPINE"), ("CHEST 1 VIEW", "PA/ERECT"), ("胸部", "")]
)
def test_more_words_than_the_defined_terms_are_understood(
    scoped: ModelCard, part: str, view: str
) -> None:
    assert judge(scoped, body_part_examined=part, view_position=view)[0] == ()


def test_a_lateral_view_stays_lateral_whatever_else_is_said(scoped: ModelCard) -> None:
    reasons, _ = judge(scoped, view_position="LAT PA")
    assert [reason.code for reason in reasons] == ["lateral"]


@pytest.mark.parametrize("part", ["CHEST LAT", "Lateral chest", "CHEST/LL", "RLAT^CHEST"])
def test_a_body_part_that_says_lateral_is_lateral(scoped: ModelCard, part: str) -> None:
    reasons, _ = judge(scoped, body_part_examined=part, view_position="PA")
    assert [reason.code for reason in reasons] == ["lateral"]


def test_the_left_of_a_chest_is_no_lateral_view(scoped: ModelCard) -> None:
    assert judge(scoped, body_part_examined="CHEST L", view_position="PA")[0] == ()


@pytest.mark.parametrize(
    ("header", "code", "sentence"),
    [
        ({"modality": "CT"}, "modality", "DICOM Modality is CT; the model answers for CR, DX."),
        (
            # A file must not speak to the reader through our sentence.
            {"view_position": "LLNormal chest. Read by a doctor, no findings"},
            "view",
            "DICOM ViewPosition is 'LLNORMAL CHEST. ...'; the model answers for PA, AP.",
        ),
        (
            {"body_part_examined": "LEG"},
            "body_part",
            "DICOM BodyPartExamined is LEG; the model answers for CHEST.",
        ),
        (
            {"view_position": "LL"},
            "lateral",
            "DICOM ViewPosition is LL, a lateral view; the model answers for PA, AP.",
        ),
        (
            {"view_position": "lateral"},
            "lateral",
            "DICOM ViewPosition is LATERAL, a lateral view; the model answers for PA, AP.",
        ),
        (
            {"view_position": "RLD"},
            "view",
            "DICOM ViewPosition is RLD; the model answers for PA, AP.",
        ),
        (
            {"body_part_examined": "THORAX^LAT CHEST"},
            "lateral",
            "DICOM BodyPartExamined is 'THORAX^LAT CHEST', a lateral view; "
            "the model answers for PA, AP.",
        ),
        (
            {"age_years": 0.5},
            "age",
            "The patient is 6 months old; the model answers from 12 months.",
        ),
        (
            {"age_years": 11 * 365.25 / 12 / 365.25},
            "age",
            "The patient is 11 months old; the model answers from 12 months.",
        ),
        (
            {"age_years": 364 / 365.25},
            "age",
            "The patient is 11 months old; the model answers from 12 months.",
        ),
        (
            {"age_years": 0.1},
            "age",
            "The patient is 1 month old; the model answers from 12 months.",
        ),
        (
            {"age_years": 0.01},
            "age",
            "The patient is less than 1 month old; the model answers from 12 months.",
        ),
        (
            {"age_years": 91.0},
            "age",
            "The patient is 91 years old; the model answers up to 90 years.",
        ),
        (
            {"distance": 2.01},
            "unlike_training",
            "The image is unlike those the model learnt from: distance 2.01, accepted up to 2.00.",
        ),
    ],
)
def test_each_reason_names_the_value_and_the_limit(
    scoped: ModelCard, header: dict[str, object], code: str, sentence: str
) -> None:
    reasons, _ = judge(scoped, **header)  # type: ignore[arg-type]
    assert reasons == (ScopeReason(code, sentence),)


def test_limits_themselves_are_in_scope(scoped: ModelCard) -> None:
    for age in (1.0, 90.0):
        assert judge(scoped, age_years=age, distance=2.0)[0] == ()


def test_a_distance_that_is_no_number_is_refused(scoped: ModelCard) -> None:
    assert [r.code for r in judge(scoped, distance=float("nan"))[0]] == ["unlike_training"]


def test_an_unknown_age_is_flagged_not_refused(scoped: ModelCard) -> None:
    assert judge(scoped, age_years=None) == ((), ("age_unknown",))


def test_a_card_without_limits_takes_everything(card: ModelCard) -> None:
    free = replace(card, scope=ScopeSpec())
    reasons, _ = judge(free, modality="CT", view_position="LL", age_years=0.1, distance=99.0)
    assert reasons == ()


def test_without_a_reference_there_is_no_distance_to_judge(scoped: ModelCard) -> None:
    assert judge(scoped, distance=None)[0] == ()


def test_reasons_and_flags_of_quality_come_first(scoped: ModelCard) -> None:
    inverted = ScopeReason("inverted", "It looks inverted.")
    quality = Quality(reasons=(inverted,), flags=("coloured",))
    header = replace(HEADER, modality="CT", age_years=None)
    reasons, flags = assess_scope(scoped, header, quality, distance=9.0)
    assert [reason.code for reason in reasons] == ["inverted", "modality", "unlike_training"]
    assert flags == ("coloured", "age_unknown")


# --- the distance ---


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    """Positive features around a mean, varying in twelve directions, with some noise."""
    rng = np.random.default_rng(5)
    directions = rng.normal(size=(12, 40)) * 0.3
    spread = rng.normal(size=(800, 12)) @ directions
    features = 3 + spread + 0.05 * rng.normal(size=(800, 40))
    return np.asarray(features, dtype=np.float32)


@pytest.fixture(scope="module")
def reference(embeddings: np.ndarray) -> Reference:
    return Reference.from_arrays(fit_reference(embeddings, components=12))


def test_training_like_embeddings_are_about_one_away(
    embeddings: np.ndarray, reference: Reference
) -> None:
    distances = [reference.distance(row) for row in embeddings]
    assert np.mean(distances) == pytest.approx(1.0, abs=0.05)


def test_foreign_directions_are_far(embeddings: np.ndarray, reference: Reference) -> None:
    foreign = np.abs(np.random.default_rng(6).normal(size=(20, 40))).astype(np.float32)
    usual = max(reference.distance(row) for row in embeddings)
    assert min(reference.distance(row) for row in foreign) > 2 * usual


def test_only_the_direction_of_an_embedding_counts(
    embeddings: np.ndarray, reference: Reference
) -> None:
    once, thrice = (reference.distance(embeddings[0] * np.float32(k)) for k in (1, 3))
    assert thrice == pytest.approx(once, rel=1e-4)


def test_an_embedding_of_zeros_is_far(reference: Reference) -> None:
    assert reference.distance(np.zeros(40, np.float32)) > 10


def test_arrays_make_the_round_trip(
    embeddings: np.ndarray, reference: Reference, tmp_path: Path
) -> None:
    fitted = fit_reference(embeddings, components=12)
    np.savez(tmp_path / "reference.npz", allow_pickle=False, **fitted)
    with np.load(tmp_path / "reference.npz", allow_pickle=False) as arrays:
        again = Reference.from_arrays(arrays)
    assert again.distance(embeddings[3]) == reference.distance(embeddings[3])


@pytest.mark.parametrize("components", [0, 40, 100])
def test_impossible_numbers_of_components_are_refused(
    embeddings: np.ndarray, components: int
) -> None:
    with pytest.raises(ValueError, match=re.escape("components: expected 1 to 39")):
        fit_reference(embeddings, components=components)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "expected finite values"), (0.0, "none of length zero")]
)
def test_embeddings_that_cannot_be_are_refused(
    embeddings: np.ndarray, value: float, message: str
) -> None:
    broken = embeddings.copy()
    broken[7] = value
    with pytest.raises(ValueError, match=message):
        fit_reference(broken, components=12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": None}, "got none named mean"),
        ({"mean": np.zeros(39, np.float32)}, "expected directions of shape (12, 39)"),
        ({"scales": np.zeros(12, np.float32)}, "expected positive scales"),
        ({"residual_scale": np.zeros((), np.float32)}, "expected positive scales"),
        ({"mean": np.full(40, np.nan, np.float32)}, "expected mean of finite float32 numbers"),
        ({"mean": np.zeros(40)}, "expected mean of finite float32 numbers, got others (float64)"),
        ({"mean": np.array(["a"] * 40)}, "expected mean of finite float32 numbers"),
        ({"mean": np.zeros((1, 40), np.float32)}, "for mean and scales of one dimension"),
        ({"residual_scale": np.ones(2, np.float32)}, "one residual_scale, got shapes"),
        (
            {"scales": np.ones(0, np.float32), "directions": np.ones((0, 40), np.float32)},
            "expected directions of shape (0, 40)",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    embeddings: np.ndarray, change: dict[str, np.ndarray | None], message: str
) -> None:
    arrays = {**fit_reference(embeddings, components=12), **change}
    kept = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        Reference.from_arrays(kept)
