"""The page says what the rows say, in the order of urgency, and can harm nobody."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from chestx.domain import (
    CAVEAT,
    Activation,
    Decision,
    Finding,
    FindingDecision,
    ImageHeader,
    InputSpec,
    Label,
    LabelRole,
    ModelCard,
    ModelIdentity,
    OperatingPoint,
    Report,
    ScopeReason,
    ScopeSpec,
    UsageError,
)
from chestx.export import run_summary
from chestx.export.html import ReportImage, ReportMap, list_report_maps, render_report
from chestx.export.table import (
    WrittenAnswer,
    list_result_columns,
    to_study_rows,
)
from chestx.rendering.colours import get_colours

POINT = OperatingPoint(0.5, 0.4, 0.6)
CARD = ModelCard(
    format_version=1,
    name="demo",
    version="1.2",
    summary="A model for tests.",
    labels=(
        Label(key="NORMAL", display="no finding", role=LabelRole.NO_FINDING),
        Label(key="PNEUMONIA", display="pneumonia", operating_point=POINT),
        Label(key="COVID19", display="COVID-19 features", operating_point=POINT, caveat="Try."),
    ),
    activation=Activation.SOFTMAX,
    temperature=1.0,
    input=InputSpec(size=224),
    heatmap="cam",
    any_finding=POINT,
    scope=ScopeSpec(),
    embedding_size=8,
    intended_use="Teaching.",
    not_looked_for="All else.",
    licence="Research.",
    files={},
    limitations=("Small.",),
)
RUN = {
    "started": "2026-11-21T17:30:00+00:00",
    "seconds": 12.5,
    "model": {"checksum": "ab" * 32, "precision": "f32"},
    "versions": {"chestx": "9.9"},
    "counts": {"skipped": 2},
}
TEMPLATE = files("chestx.export").joinpath("report.html").read_text(encoding="utf-8")


def make_image(path: str, /, pneumonia: float | None = 0.1, **cells: str) -> ReportImage:
    """An assessed image, or with None a failed one; any cell can be given."""
    row = dict.fromkeys(list_result_columns(CARD), "") | {"path": path}
    if pneumonia is None:
        row |= {"decision": "failed", "status": "failed", "error": "broken"}
        return ReportImage(row | cells, "", "", ())
    decision = POINT.decide(pneumonia).value
    row |= {
        "decision": decision,
        "probability_PNEUMONIA": f"{pneumonia:.4f}",
        "decision_PNEUMONIA": decision,
        "probability_COVID19": "0.0100",
        "decision_COVID19": "negative",
        "probability_any_finding": f"{pneumonia:.4f}",
        "decision_any_finding": decision,
        "probability_NORMAL": f"{1 - pneumonia:.4f}",
    }
    return ReportImage(row | cells, f"views/{path}.jpg", f"thumbnails/{path}.jpg", ())


def make_map(
    key: str = "PNEUMONIA", *, width: int = 2, height: int = 2, value: int = 9
) -> ReportMap:
    return ReportMap(key, width, height, base64.b64encode(bytes([value] * width * height)).decode())


def read_data(page: str) -> dict[str, Any]:
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    data: dict[str, Any] = json.loads(block.group(1))
    return data


def render(*images: ReportImage) -> dict[str, Any]:
    return read_data(render_report(images, run=RUN, card=CARD))


def test_images_stand_in_order_of_urgency_then_probability() -> None:
    data = render(
        make_image("negative", 0.2),
        make_image("failed", None),
        make_image("positive", 0.7),
        make_image("outside", 0.9, decision="out_of_scope", scope_reasons="lateral"),
        make_image("uncertain", 0.45),
        make_image("surer", 0.9),
    )
    order = [image["path"] for image in data["images"]]
    assert order == ["surer", "positive", "uncertain", "failed", "outside", "negative"]
    assert [image["number"] for image in data["images"]] == [6, 3, 5, 2, 4, 1]


def test_images_of_a_study_stand_together_and_the_answering_one_first() -> None:
    data = render(
        make_image("late", None, StudyInstanceUID="1.2"),
        make_image("alone", 0.7),
        make_image("first", 0.8, StudyInstanceUID="1.2"),
    )
    assert [image["path"] for image in data["images"]] == ["first", "late", "alone"]
    assert [image["study"] for image in data["images"]] == [0, 0, 1]
    assert data["studies"][0] == {
        "decision": "positive",
        "images": 2,
        "note": "1 further image of this study was not assessed.",
    }


def test_a_study_without_an_assessed_image_needs_a_human() -> None:
    data = render(
        make_image("negative", 0.1),
        make_image("a", 0.1, decision="out_of_scope", StudyInstanceUID="7"),
        make_image("b", None, StudyInstanceUID="7"),
    )
    assert data["studies"][0]["decision"] == "failed"
    assert data["studies"][0]["note"] == "1 further image of this study was not assessed."


def test_numbers_of_an_image_out_of_scope_are_not_in_the_page() -> None:
    image = make_image("a", 0.8765, decision="out_of_scope", scope_reasons="blank", distance="4.3")
    page = render_report([replace(image, maps=(make_map(),))], run=RUN, card=CARD)
    assert "0.8765" not in page
    shown = read_data(page)["images"][0]
    assert not {"findings", "maps", "shown", "distance"} & set(shown)
    assert shown["scope_reasons"] == "blank"


def test_a_finding_has_its_number_in_words_and_its_decision() -> None:
    data = render(make_image("a", 0.9999))
    assert data["images"][0]["findings"][0] == [0.9999, ">0.99", "positive"]
    assert [x["name"] for x in data["findings"]] == [
        "pneumonia",
        "COVID-19 features (see caveat)",
        "any of these",
    ]
    assert data["findings"][0]["threshold"] == 0.5
    assert data["words"]["decisions"]["out_of_scope"] == "out of scope"


def test_an_answer_says_what_it_rests_on_as_the_picture_does() -> None:
    caveat = "Experimental; not a test."
    labels = (*CARD.labels[:2], replace(CARD.labels[2], display="COVID-19", caveat=caveat))
    card = replace(CARD, labels=labels)
    found = {"decision_COVID19": "positive", "probability_COVID19": "0.98"}
    images = [
        make_image("a", 0.01, decision="positive", **found),
        make_image("b", 0.1, decision="uncertain", decision_any_finding="uncertain"),
        make_image("c", 0.9, decision="out_of_scope"),
    ]
    data = read_data(render_report(images, run=RUN, card=card))
    assert [image.get("basis") for image in data["images"]] == [
        "features of COVID-19 0.98 (experimental)",
        "features of pneumonia or COVID-19 (experimental) 0.10",
        None,
    ]
    assert data["findings"][1]["name"] == "COVID-19 (experimental)"
    assert data["findings"][1]["caveat"] == caveat
    assert data["layers"]["COVID19"] == {
        "name": "COVID-19 (experimental)",
        "strong": "strong evidence for COVID-19 (experimental) against the other labels",
    }


def test_the_map_of_the_most_urgent_finding_comes_first() -> None:
    image = make_image("a", 0.7, decision_COVID19="uncertain", probability_COVID19="0.55")
    image = replace(image, maps=(make_map("NORMAL"), make_map("COVID19"), make_map("PNEUMONIA")))
    assert render(image)["images"][0]["shown"] == 2


def test_the_scale_of_the_map_is_that_of_the_pictures() -> None:
    data = render(make_image("a"))
    colours = np.frombuffer(base64.b64decode(data["colours"]), np.uint8).reshape(256, 3)
    assert np.array_equal(colours, get_colours())
    assert data["layers"]["PNEUMONIA"]["strong"] == (
        "strong evidence for pneumonia against the other labels"
    )
    assert data["words"]["mapNotes"].endswith("it is not a boundary.")


def test_totals_histograms_and_tables_count_every_image() -> None:
    data = render(
        make_image("a", 0.98, sex="F", age="47", view="PA"),
        make_image("b", 0.02, sex="F", age="0.5", view="ap"),
        make_image("c", None),
        make_image("d", 0.5, decision="out_of_scope", age="hundred", view="LL"),
    )
    assert data["totals"] == {
        "positive": 1,
        "uncertain": 0,
        "failed": 1,
        "out_of_scope": 1,
        "negative": 1,
    }
    assert sum(data["histograms"][0]) == 2
    assert data["histograms"][0][19] == 1
    ages, sexes, views = data["tables"]
    assert [row[0] for row in ages["rows"]] == ["under 1", "40 to 59", "not stated"]
    assert sexes["rows"] == [["F", 1, 0, 0, 0, 1], ["not stated", 0, 0, 1, 1, 0]]
    assert {row[0] for row in views["rows"]} == {"PA", "AP", "LL", "not stated"}
    assert run_summary.read_age_band({"age": "80"}) == "80 and over"


def test_a_table_has_an_end_however_many_values_there_are() -> None:
    rows = render(*(make_image(str(i), view=f"V{i}") for i in range(40)))["tables"][2]["rows"]
    assert len(rows) == run_summary.MOST_GROUPS + 1
    assert rows[-1][0] == "28 other values"
    assert sum(sum(row[1:]) for row in rows) == 40


def test_the_page_warns_when_too_many_failed_or_were_refused() -> None:
    calm = [make_image(str(i)) for i in range(100)]
    assert render(*calm)["warnings"] == []
    strange = [
        make_image(f"x{i}", decision="out_of_scope", scope_reasons="view unlike_training")
        for i in range(12)
    ]
    broken = [make_image(f"y{i}", None) for i in range(3)]
    warnings = render(*calm[:85], *strange, *broken)["warnings"]
    assert [text.split(" images (")[0] for text in warnings] == [
        "Not readable: 3 of 100",
        "Out of scope: 12 of 100",
        "Unlike the images that the model learnt from: 12 of 100",
    ]
    assert "(3.0 %, expected at most 2 %)" in warnings[0]


def test_an_empty_run_has_a_page() -> None:
    data = read_data(render_report([], run={}, card=CARD))
    assert data["images"] == data["warnings"] == []
    assert data["card"]["intendedUse"] == "Teaching."
    assert data["card"]["limitations"] == ["Small."]


def test_the_order_is_that_of_the_studies_table() -> None:
    images = [
        make_image("0", 0.2, StudyInstanceUID="9"),
        make_image("1", 0.9),
        make_image("2", 0.45),
        make_image("3", 0.7, StudyInstanceUID="9"),
        make_image("4", None),
        make_image("5", 0.99, decision="out_of_scope"),
        make_image("6", 0.9),
    ]
    table = to_study_rows(WrittenAnswer.from_row(image.row) for image in images)
    data = render(*images)
    firsts = {image["study"]: image["path"] for image in reversed(data["images"])}
    assert [firsts[i] for i in range(6)] == [row["answering_path"] for row in table]


def make_mapped_report(*, outside: bool = False) -> Report:
    finding = Finding("PNEUMONIA", "pneumonia", 0.9, FindingDecision.POSITIVE, POINT)
    maps = np.array([[[9, 9]], [[1.0, -3.0]]], np.float32)
    return Report(
        source="a",
        sha256="",
        header=ImageHeader(format="PNG", rows=1, columns=1),
        model=ModelIdentity("demo", "1", "ab"),
        decision=Decision.OUT_OF_SCOPE if outside else Decision.POSITIVE,
        findings=(finding,),
        any_finding=None,
        probabilities={"NORMAL": 0.1, "PNEUMONIA": 0.9},
        scope_reasons=(ScopeReason("blank", "Blank."),) if outside else (),
        flags=(),
        interpretation="",
        distance=None,
        shown_label="PNEUMONIA",
        map_scales={"NORMAL": 1.0, "PNEUMONIA": 2.0},
        logits=np.zeros(2, np.float32),
        embedding=np.zeros(4, np.float32),
        maps=maps,
        preview=None,
    )


def test_maps_are_those_of_the_findings_on_the_fixed_scale() -> None:
    (found,) = list_report_maps(make_mapped_report())
    assert (found.key, found.width, found.height) == ("PNEUMONIA", 2, 1)
    assert list(base64.b64decode(found.values)) == [128, 0]


def test_an_image_without_an_answer_has_no_maps() -> None:
    assert list_report_maps(make_mapped_report(outside=True)) == ()
    assert list_report_maps(replace(make_mapped_report(), maps=None)) == ()


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"decision": "fine"}, "decision: expected one of positive, uncertain, failed"),
        ({"decision_COVID19": "<b>"}, "decision_COVID19: expected one of positive, uncertain"),
        ({"probability_PNEUMONIA": "1.2"}, "probability_PNEUMONIA: expected a number from 0 to 1"),
        ({"probability_PNEUMONIA": "nan"}, "got 'nan', in row 2 of the results"),
        ({"probability_any_finding": ""}, "was the table edited, or made with another model?"),
    ],
)
def test_a_row_that_no_run_wrote_is_refused(cells: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        render(make_image("a"), make_image("b", 0.1, **cells))


def test_a_map_of_a_foreign_label_is_refused() -> None:
    image = replace(make_image("a"), maps=(make_map("OTHER"),))
    with pytest.raises(ValueError, match=r"expected labels of the card, got \['OTHER'\]"):
        render(image)


def test_a_map_has_as_many_values_as_cells() -> None:
    with pytest.raises(ValueError, match="expected 4 bytes for 2 x 2 cells, got 1"):
        ReportMap("A", 2, 2, "AA==")
    with pytest.raises(ValueError, match="expected 1 to 256 cells a side, got 0 x 2"):
        ReportMap("A", 0, 2, "")
    with pytest.raises(ValueError, match="base64"):
        ReportMap("A", 1, 1, "<b>")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../a.jpg", "views/../../a.jpg", "\\\\host\\a.jpg"]
)
def test_pictures_lie_below_the_report(path: str) -> None:
    with pytest.raises(ValueError, match="expected a path below the report"):
        ReportImage({}, path, "", ())
    with pytest.raises(ValueError, match="expected a path below the report"):
        ReportImage({}, "", path, ())


def test_a_path_cannot_name_a_scheme() -> None:
    image = replace(make_image("a"), view="javascript:alert(1)", thumbnail="views/a #?%\u202e.jpg")
    shown = render(image)["images"][0]
    assert shown["picture"] == "javascript%3Aalert%281%29"
    assert shown["thumbnail"] == "views/a%20%23%3F%25%E2%80%AE.jpg"


def test_no_text_can_end_the_data_block() -> None:
    text = "</script><!--<script>&\u2028\u2029\u202e\x00\udcff"
    page = render_report([make_image("a", path=text)], run=RUN, card=CARD)
    block = page.split('id="data">')[1].split("</script>")[0]
    assert block.isascii()
    assert not re.search(r"[<>&]", block)
    data = read_data(page)
    assert data["images"][0]["path"] == (
        r"</script><!--<script>&\u2028\u2029\u202e\x00" + "\\udcff"
    )


def test_no_text_of_a_card_can_end_the_data_block() -> None:
    text = "</script><!--<script>&"
    page = render_report([], run=RUN, card=replace(CARD, summary=text))
    block = page.split('id="data">')[1].split("</script>")[0]
    assert not re.search(r"[<>&]", block)
    assert read_data(page)["card"]["summary"] == text


def test_text_that_looks_like_a_marker_of_the_template_stays_text() -> None:
    data = render(make_image("a", interpretation="see @@policy@@ @@data@@"))
    assert data["images"][0]["interpretation"] == "see @@policy@@ @@data@@"


def test_the_policy_allows_its_own_style_and_scripts_alone() -> None:
    page = render_report([make_image("a")], run=RUN, card=CARD)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.group(1).split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "'self' file: data:"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(x.encode()).digest()).decode() for x in parts]
        assert rules[rule] == " ".join(f"'sha256-{digest}'" for digest in hashes)


def test_the_page_never_makes_markup_from_text() -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    )
    assert not re.search(forbidden, TEMPLATE)
    assert not re.search(r"\son\w+=|\sstyle=", TEMPLATE)


def test_the_page_names_no_address() -> None:
    assert set(re.findall(r"https?://[^\"]+", TEMPLATE)) == {"http://www.w3.org/2000/svg"}


def test_the_caveat_stands_at_the_head_the_foot_the_print_and_the_large_view() -> None:
    page = render_report([], run=RUN, card=CARD)
    assert page.count(f">{CAVEAT}</p>") == 4


def read_themes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root(?:\[data-theme=\"dark\"\])? \{(.*?)\}", TEMPLATE, re.DOTALL)
    read = {"light": light, "dark": dark}
    return {
        name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for name, block in read.items()
    }


def measure_contrast(one: str, other: str) -> float:
    """Source: WCAG 2.2, relative luminance and contrast ratio."""

    def measure_luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((measure_luminance(one), measure_luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_and_controls_stand_out_in_both_themes(theme: str) -> None:
    colours = read_themes()[theme]
    texts = ["text", "quiet", "accent", *(decision.value for decision in Decision)]
    pairs = [(ink, paper, 4.5) for ink in texts for paper in ("page", "panel")]
    pairs += [("on-accent", "accent", 4.5), ("on-notice", "notice", 4.5), ("text", "track", 4.5)]
    # WCAG 1.4.11: borders of controls, focus, the filled part and the tick of a bar.
    pairs += [(ink, paper, 3.0) for ink in ("edge", "focus") for paper in ("page", "panel")]
    pairs += [(decision.value, "track", 3.0) for decision in Decision]
    pairs += [("text", "band", 3.0)]
    for ink, paper, least in pairs:
        ratio = measure_contrast(colours[ink], colours[paper])
        assert ratio >= least, f"{ink} on {paper}: {ratio:.2f}"


def test_both_themes_have_the_same_colours_by_name() -> None:
    themes = read_themes()
    assert set(themes["light"]) == set(themes["dark"])
