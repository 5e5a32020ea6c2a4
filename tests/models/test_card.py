"""The card's text: exact both ways, and every fault in it is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chestx.domain import CAVEAT, InvalidModelError, ModelCard
from chestx.models.card import card_from_json, card_to_json, render_card


def test_a_card_survives_the_round_trip(card: ModelCard) -> None:
    assert card_from_json(card_to_json(card)) == card


def test_a_card_with_every_optional_field_empty_survives_the_round_trip(card: ModelCard) -> None:
    only = replace(card.labels[1], key="A")
    bare = replace(card, labels=(only,), any_finding=None, scope=type(card.scope)(), training={})
    assert card_from_json(card_to_json(bare)) == bare


def test_the_text_is_canonical(card: ModelCard) -> None:
    text = card_to_json(card)
    shuffled = json.dumps(dict(reversed(json.loads(text).items())))
    assert card_to_json(card_from_json(shuffled)) == text
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")


def test_texts_of_other_scripts_and_line_breaks_are_accepted(card: ModelCard) -> None:
    label = replace(card.labels[1], display="ذات‌الرئة क्‍ष 肺炎", caveat="Un.\nDeux\u00a0: 0,39.")
    changed = replace(card, labels=(card.labels[0], label), training={"n": [1, None, 2.5, True]})
    assert card_from_json(card_to_json(changed)) == changed


def test_the_text_keeps_other_scripts_readable(card: ModelCard) -> None:
    assert "肺炎" in card_to_json(replace(card, summary="肺炎"))


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d.pop("temperature"),
            r"card\.json: expected the key 'temperature', it is missing",
        ),
        (lambda d: d.update(extra=1), r"card\.json: expected no key 'extra', it is unknown"),
        (
            lambda d: d["labels"][1].pop("display"),
            r"card\.json\.labels\[1\]: expected the key 'display', it is missing",
        ),
        (
            lambda d: d["scope"].update(sex="M"),
            r"card\.json\.scope: expected no key 'sex', it is unknown",
        ),
        (
            lambda d: d.update(temperature="warm"),
            r"card\.json\.temperature: expected a number, got 'warm' \(str\)",
        ),
        (
            lambda d: d.update(temperature=True),
            r"card\.json\.temperature: expected a number, got True \(bool\)",
        ),
        (
            lambda d: d.update(temperature=10**400),
            r"card\.json\.temperature: expected a number that a float can hold",
        ),
        (
            lambda d: d.update(embedding_size=3.5),
            r"card\.json\.embedding_size: expected a whole number, got 3\.5 \(float\)",
        ),
        (lambda d: d.update(embedding_size=0), r"embedding_size: expected 1 or more, got 0"),
        (lambda d: d.update(name=None), r"card\.json\.name: expected a text, got nothing"),
        (lambda d: d.update(labels={}), r"card\.json\.labels: expected a list, got \{\} \(dict\)"),
        (lambda d: d.update(labels=[]), r"card\.json: labels: expected at least one"),
        (lambda d: d.update(input=[]), r"card\.json\.input: expected an object, got \[\] \(list\)"),
        (
            lambda d: d["input"].update(size=7),
            r"card\.json\.input: input size: expected 16 to 4096",
        ),
        (
            lambda d: d.update(activation="tanh"),
            r"card\.json\.activation: expected one of softmax, sigmoid, got 'tanh' \(str\)",
        ),
        (
            lambda d: d["labels"][0].update(role=3),
            r"labels\[0\]\.role: expected one of finding, no_finding, got 3 \(int\)",
        ),
        (
            lambda d: d["any_finding"].update(threshold=2),
            r"card\.json\.any_finding: operating point: expected 0 <= uncertain_low",
        ),
        (
            lambda d: d.update(files={"a": 1}),
            r"card\.json\.files\.a: expected a text, got 1 \(int\)",
        ),
        (lambda d: d.update(files=[]), r"card\.json\.files: expected an object"),
        (
            lambda d: d["scope"].update(min_age_years=-1),
            r"scope: expected 0 <= min_age_years <= max_age_years, got -1\.0 and 90\.0",
        ),
        (
            lambda d: d["scope"].update(max_age_years=0.5),
            r"scope: expected 0 <= min_age_years <= max_age_years, got 1\.0 and 0\.5",
        ),
        (
            lambda d: d["scope"].update(max_distance=0),
            r"scope\.max_distance: expected a positive number, got 0\.0",
        ),
        (
            lambda d: d.update(format_version=2, surprise=1),
            r"made by a newer chestx: it has format 2, this version reads up to 1; update chestx",
        ),
        (lambda d: d.update(format_version=0), r"format_version: expected 1 or more, got 0"),
        (
            lambda d: d.update(format_version="1"),
            r"format_version: expected a whole number, got '1'",
        ),
        (
            lambda d: d.update(heatmap="saliency"),
            r"heatmap: expected cam, occlusion or none, "
            "got 'saliency'",
        ),
        (lambda d: d.update(temperature=1e-300), r"temperature: expected 0\.001 to 1000"),
        (
            lambda d: d["performance"][0].update(high=None),
            r"performance\[0\]: figure 'AUROC': expected both low and high or neither",
        ),
        (
            lambda d: d["performance"][1].update(high=0.9),
            r"performance\[1\]: figure 'accuracy': expected both low and high or neither",
        ),
        (
            lambda d: d["performance"][0].update(low=0.91),
            r"performance\[0\]: figure 'AUROC': expected low <= value <= high, got 0\.91, 0\.9",
        ),
        (
            lambda d: d["labels"][1].update(key="any_finding"),
            r"labels\[1\]: label: expected a key of a letter .* and not any_finding",
        ),
        (
            lambda d: d["labels"][1].update(key="=cmd|x,\n"),
            r"labels\[1\]: label: expected a key of a letter .* got '=cmd\|x,\\n'",
        ),
        (
            lambda d: d["labels"][1].update(display="pneu\u202emonia"),
            r"display of label PNEUMONIA: expected 1 to 64 printable characters, got 'pneu\\u202e",
        ),
        (
            lambda d: d["labels"][1].update(caveat="c" * 2001),
            r"caveat of label PNEUMONIA: expected at most 2,000 characters",
        ),
        (lambda d: d.update(name="a\x1b[31m"), r"card\.json: name: expected 1 to 64 printable"),
        (lambda d: d.update(version=""), r"card\.json: version: expected 1 to 64 printable"),
        (lambda d: d.update(summary="a\rb"), r"card\.json: summary: expected at most 2,000"),
        (lambda d: d.update(licence="\ud800"), r"card\.json: licence: expected at most 2,000"),
        (
            lambda d: d["limitations"].append("l" * 2001),
            r"card\.json: limitations: expected at most 2,000 characters .* got 2,001",
        ),
        (
            lambda d: d["scope"].update(views=["PA\n"]),
            r"card\.json: scope: expected 1 to 64 printable characters",
        ),
        (
            lambda d: d["performance"][0].update(note="\x00"),
            r"performance\[0\]: figure note: expected at most 2,000 characters",
        ),
        (
            lambda d: d["training"].update(data=[{"a\x1b": 1}]),
            r"card\.json: training: expected at most 2,000 characters",
        ),
        (
            lambda d: d["training"].update(data=json.loads("[" * 300 + "]" * 300)),
            r"card\.json: training: expected values nested 8 deep at most",
        ),
        (lambda d: d.pop("format_version"), r"expected the key 'format_version', it is missing"),
    ],
)
def test_a_fault_is_refused_with_its_place(card: ModelCard, change: Change, message: str) -> None:
    document = json.loads(card_to_json(card))
    change(document)
    with pytest.raises(InvalidModelError, match=message):
        card_from_json(json.dumps(document))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_know_are_refused(card: ModelCard, constant: str) -> None:
    text = card_to_json(card).replace('"temperature": 0.8', f'"temperature": {constant}')
    with pytest.raises(InvalidModelError, match=f"{constant} is not a number that JSON knows"):
        card_from_json(text)


def test_numbers_too_large_for_a_float_are_refused(card: ModelCard) -> None:
    text = card_to_json(card).replace('"temperature": 0.8', '"temperature": 1e999')
    with pytest.raises(InvalidModelError, match="1e999 is larger than a float can hold"):
        card_from_json(text)


def test_nan_is_never_written(card: ModelCard) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        card_to_json(replace(card, training={"loss": float("nan")}))


def test_a_key_that_stands_twice_is_refused(card: ModelCard) -> None:
    text = card_to_json(card).replace('"temperature": 0.8', '"temperature": 0.8, "temperature": 9')
    with pytest.raises(InvalidModelError, match="key twice: 'temperature'"):
        card_from_json(text)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "[]", "3", '"card"', "{}"])
def test_text_that_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(InvalidModelError, match=r"card\.json"):
        card_from_json(text)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_value_anywhere_raises_another_error(card: ModelCard, data: st.DataObject) -> None:
    document = json.loads(card_to_json(card))
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    place[key] = data.draw(
        st.recursive(scalars, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=4)
    )
    try:
        accepted = card_from_json(json.dumps(document))
    except InvalidModelError:
        return
    assert card_from_json(card_to_json(accepted)) == accepted


def test_the_rendered_card_says_everything(card: ModelCard) -> None:
    page = render_card(card, checksum="ab12" * 16)
    for part in (
        CAVEAT,
        "# try-out 2.1",
        "ab12" * 16,
        "| PNEUMONIA | pneumonia | 0.400 | 0.200 to 0.600 |  |",
        r"| COVID19 | COVID-19 features | 0.300 | no band | experimental \| see limits |",
        "| NORMAL | no finding | never decided on |  |  |",
        "| any finding | 1 - P(no finding) | 0.500 | 0.250 to 0.750 | |",
        "divided by 0.8 before the softmax",
        "| AUROC | 1 - P(NORMAL) | some images | 10 | 0.900 | 0.800 to 0.950 | flatters |",
        "| accuracy | all | some images | 10 | 0.700 |  |  |",
        "DICOM Modality: CR, DX",
        "Body part: any",
        "Age in years: from 1 to 90",
        "further than 2.5 from the training images",
        "- It knows nothing.",
        "- epochs: 5",
        "  - a: 1",
        "stretched to 224 x 224",
        "Everything else.",
    ):
        assert part in page


def test_the_rendered_card_without_figures_or_limits_says_so(card: ModelCard) -> None:
    page = render_card(replace(card, performance=(), scope=type(card.scope)()))
    assert "Nothing was measured." in page
    assert "Age in years: any" in page
    assert "Likeness: not checked" in page
    assert "the sha256 of `card.json` beside this file" in page


def test_an_item_of_several_values_in_a_list_has_its_number(card: ModelCard) -> None:
    averaged = [{"run": "first", "seed": 1}, {"run": "second", "seed": 2}]
    page = render_card(replace(card, training={"averaged_with": averaged, "data": ["one place"]}))
    assert page.partition("## Training\n\n")[2].startswith(
        "- averaged_with:\n  - 1:\n    - run: first\n    - seed: 1\n"
        "  - 2:\n    - run: second\n    - seed: 2\n- data:\n  - one place\n"
    )


def test_the_card_that_the_package_carries_says_what_it_is(default_folder: Path) -> None:
    text = (default_folder / "card.json").read_text(encoding="utf-8")
    card = card_from_json(text)
    assert card_to_json(card) == text
    assert "Edition 1" in card.summary
    assert [label.key for label in card.labels] == ["NORMAL", "PNEUMONIA", "COVID19"]
    assert card.labels[2].caveat.startswith(
        "Experimental; not a test for an infection: in a collection that it hardly learnt from it "
        "called 2 of 3 other pneumonias COVID-19, and on a hospital outside the training data"
    )
    assert render_card(card) == (default_folder / "README.md").read_text(encoding="utf-8")
    assert all(figure.n > 0 for figure in card.performance)
    pooled = [figure for figure in card.performance if "all sources" in figure.data]
    assert pooled
    assert all("flatters" in f.note for f in pooled if not f.name.startswith("mean within"))
