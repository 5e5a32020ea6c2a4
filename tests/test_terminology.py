"""Codes and sentences."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from chestx import domain, terminology
from chestx.domain import Decision, Finding, FindingDecision, OperatingPoint, ScopeReason

POINT = OperatingPoint(0.5, 0.4, 0.6)
LATERAL = ScopeReason("lateral", "The view is LATERAL; the model was made for frontal views.")


def make(key: str, display: str, probability: float, *, caveat: str = "") -> Finding:
    return Finding(key, display, probability, POINT.decide(probability), POINT, caveat)


def pneumonia(probability: float) -> Finding:
    return make("PNEUMONIA", "pneumonia", probability)


def covid(probability: float, *, caveat: str = "") -> Finding:
    return make("COVID19", "COVID-19", probability, caveat=caveat)


def any_finding(probability: float) -> Finding:
    return make(domain.ANY_FINDING, "any finding", probability)


def make_report(decision: Decision, sentence: str) -> domain.Report:
    return domain.Report(
        source="a.png",
        sha256="",
        header=domain.ImageHeader(format="PNG", rows=20, columns=20),
        model=domain.ModelIdentity("m", "1", "abc"),
        decision=decision,
        findings=(),
        any_finding=None,
        probabilities={},
        scope_reasons=(LATERAL,) if decision is Decision.OUT_OF_SCOPE else (),
        flags=(),
        interpretation=sentence,
        distance=None,
        shown_label="",
        map_scales={},
        logits=np.zeros(3, np.float32),
        embedding=np.zeros(4, np.float32),
        maps=None,
        preview=None,
    )


def test_pneumonia_has_a_snomed_and_a_radlex_code() -> None:
    codes = [(code.value, code.scheme) for code in terminology.get_codes("PNEUMONIA")]
    assert codes == [("233604007", "SCT"), ("RID5350", "RADLEX")]


def test_covid_has_only_the_code_of_its_features_and_never_the_disease() -> None:
    (code,) = terminology.get_codes("COVID19")
    assert code.scheme == "99CHESTX"
    assert code.meaning == "Radiographic features suggestive of COVID-19"


@pytest.mark.parametrize("key", ["NORMAL", "SOMETHING_ELSE"])
def test_a_normal_study_and_an_unknown_label_have_no_code(key: str) -> None:
    assert terminology.get_codes(key) == ()


def test_every_code_fits_its_dicom_attributes_and_is_frozen() -> None:
    codes = [
        terminology.CHEST,
        terminology.LUNG,
        *terminology.DECISION_CODES.values(),
        *(code for codes in terminology.FINDING_CODES.values() for code in codes),
    ]
    for code in codes:
        assert 0 < len(code.value) <= 16
        assert 0 < len(code.scheme) <= 16
        assert 0 < len(code.meaning) <= 64
    with pytest.raises(FrozenInstanceError):
        codes[0].value = "1"  # type: ignore[misc]


def test_a_decision_becomes_a_qualifier() -> None:
    values = [terminology.DECISION_CODES[decision].value for decision in FindingDecision]
    assert values == ["52101004", "373068000", "272519000"]


def test_every_decision_has_its_word() -> None:
    for decision in (*Decision, *FindingDecision):
        assert terminology.name_decision(decision) == decision.value.replace("_", " ")


def test_negative_never_reads_as_a_normal_study() -> None:
    sentence = terminology.interpret([pneumonia(0.1), covid(0.02)], any_finding(0.1))
    assert sentence == "No features of pneumonia or COVID-19 found; other disease not assessed."


def test_negative_names_every_label_of_other_models() -> None:
    findings = [pneumonia(0.1), covid(0.1), make("TB", "tuberculosis", 0.1)]
    sentence = terminology.interpret(findings, None)
    assert sentence.startswith("No features of pneumonia, COVID-19 or tuberculosis found;")


def test_positive_names_the_finding_with_its_probability_in_words_and_as_a_number() -> None:
    sentence = terminology.interpret([pneumonia(0.93), covid(0.02)], any_finding(0.95))
    assert sentence == "Features of pneumonia found (very high probability, 0.93)."


def test_positive_names_every_positive_finding_most_probable_first_with_its_caveat() -> None:
    experimental = covid(0.8, caveat="Experimental: it learnt the source. Read docs/limits.md.")
    sentence = terminology.interpret([pneumonia(0.7), experimental], None)
    assert sentence == (
        "Features of COVID-19 found (0.80). "
        "Features of pneumonia found (high probability, 0.70). "
        "COVID-19: Experimental: it learnt the source."
    )


CAVEAT = (
    "Experimental; not a test for an infection: on a hospital outside the training data this "
    "score separated nothing (AUROC 0.39). It learnt the source of the image."
)
FIRST = CAVEAT.partition(" It learnt")[0]


def test_a_finding_with_a_caveat_has_no_words_of_certainty_and_is_followed_by_its_caveat() -> None:
    sentence = terminology.interpret([pneumonia(0.01), covid(0.98, caveat=CAVEAT)], None)
    assert sentence == f"Features of COVID-19 found (0.98). {FIRST}"


@pytest.mark.parametrize("composite", [0.55, 0.91])
def test_a_composite_speaks_the_caveats_of_all_that_it_names(composite: float) -> None:
    findings = [pneumonia(0.3), covid(0.3, caveat=CAVEAT), make("TB", "TB", 0.1, caveat="See TB.")]
    sentence = terminology.interpret(findings, any_finding(composite))
    assert "pneumonia, COVID-19 or TB" in sentence
    assert sentence.endswith(f" COVID-19: {FIRST} See TB.")
    assert "probability" not in sentence


def test_a_caveat_is_said_once_where_composite_and_finding_both_need_it() -> None:
    sentence = terminology.interpret([pneumonia(0.3), covid(0.5, caveat=CAVEAT)], any_finding(0.9))
    assert sentence == (
        "Features of pneumonia or COVID-19 found, not told apart (0.90). "
        f"Not decided: COVID-19 0.50 lies inside the band 0.40\u20130.60. COVID-19: {FIRST}"
    )


@pytest.mark.parametrize("probability", [0.5, 0.9])
def test_an_undecided_finding_is_followed_by_its_caveat(probability: float) -> None:
    sentence = terminology.interpret([covid(0.5, caveat=CAVEAT), pneumonia(probability)], None)
    assert sentence.endswith(f". COVID-19: {FIRST}")


@pytest.mark.parametrize(
    ("single", "other", "composite", "headline"),
    [
        (0.93, 0.02, 0.95, "positive: features of pneumonia 0.93"),
        (0.01, 0.98, 0.99, "positive: features of COVID-19 0.98 (experimental)"),
        (0.45, 0.02, 0.47, "uncertain: features of pneumonia 0.45"),
        (0.01, 0.45, 0.46, "uncertain: features of COVID-19 0.45 (experimental)"),
        (0.45, 0.45, 0.9, "positive: features of pneumonia or COVID-19 (experimental) 0.90"),
        (0.3, 0.25, 0.55, "uncertain: features of pneumonia or COVID-19 (experimental) 0.55"),
        (
            0.7,
            0.8,
            None,
            "positive: features of COVID-19 0.80 (experimental), features of pneumonia 0.70",
        ),
        (
            0.05,
            0.02,
            0.07,
            "negative: features of pneumonia 0.05, features of COVID-19 0.02 (experimental)",
        ),
    ],
)
def test_a_headline_names_features_and_marks_what_has_a_caveat(
    single: float, other: float, composite: float | None, headline: str
) -> None:
    findings = [pneumonia(single), covid(other, caveat=CAVEAT)]
    whole = None if composite is None else any_finding(composite)
    decision = terminology.decide_image(findings, whole)
    assert terminology.write_headline(decision, findings, whole) == headline


def test_a_headline_of_what_was_not_assessed_has_no_number() -> None:
    assert (
        terminology.write_headline(Decision.OUT_OF_SCOPE, [pneumonia(0.93)], None) == "out of scope"
    )


def test_a_mark_says_experimental_only_where_the_caveat_does() -> None:
    assert terminology.add_mark("COVID-19", CAVEAT) == "COVID-19 (experimental)"
    assert terminology.add_mark("TB", "Trained on adults.") == "TB (see caveat)"
    assert terminology.add_mark("pneumonia", "") == "pneumonia"


def test_a_number_and_its_words_agree() -> None:
    sentence = terminology.interpret([pneumonia(0.899)], None)
    assert sentence == "Features of pneumonia found (very high probability, 0.90)."


def test_a_probability_of_a_table_is_written_like_the_one_it_came_from() -> None:
    for probability in (0.99003, 0.00997, 0.0099951, 0.990051):
        written = terminology.format_probability(round(probability, 4))
        assert terminology.format_probability(probability) == written


def test_a_caveat_that_names_its_label_is_not_prefixed() -> None:
    finding = covid(0.8, caveat="COVID-19 is experimental.")
    sentence = terminology.interpret([finding, pneumonia(0.7)], None)
    assert sentence.endswith("0.70). COVID-19 is experimental.")


def test_positive_says_what_stays_undecided_beside_it() -> None:
    sentence = terminology.interpret([pneumonia(0.93), covid(0.45)], None)
    assert sentence.endswith("Not decided: COVID-19 0.45 lies inside the band 0.40\u20130.60.")


def test_something_found_without_one_finding_is_not_told_apart() -> None:
    sentence = terminology.interpret([pneumonia(0.3), covid(0.3)], any_finding(0.91))
    assert sentence == (
        "Features of pneumonia or COVID-19 found, not told apart (very high probability, 0.91)."
    )


def test_uncertain_says_the_band_and_who_must_decide() -> None:
    sentence = terminology.interpret([pneumonia(0.41), covid(0.02)], any_finding(0.43))
    assert sentence == (
        "Uncertain: pneumonia 0.41 lies inside the band 0.40\u20130.60, "
        "where the model does not decide; a physician must decide."
    )


def test_uncertain_of_the_composite_alone_says_so() -> None:
    sentence = terminology.interpret([pneumonia(0.3), covid(0.2)], any_finding(0.5))
    assert sentence == (
        "Uncertain: pneumonia or COVID-19, not told apart, 0.50 lies inside the band "
        "0.40\u20130.60, where the model does not decide; a physician must decide."
    )


def test_out_of_scope_gives_the_reasons_and_no_number() -> None:
    far = ScopeReason("far", "")
    sentence = terminology.interpret([pneumonia(0.93)], None, scope_reasons=[LATERAL, far])
    assert sentence == (
        "Not assessed: The view is LATERAL; the model was made for frontal views. far."
    )


def test_a_failure_says_that_the_file_could_not_be_read() -> None:
    failure = domain.Failure(source="a.png", reason="expected an image, got text.")
    assert terminology.interpret_result(failure) == (
        "Not assessed: the file could not be read: expected an image, got text."
    )


@pytest.mark.parametrize(
    ("others", "end"),
    [
        (0, "Found."),
        (1, "Found. 1 further image of this study was not assessed."),
        (2, "Found. 2 further images of this study were not assessed."),
    ],
)
def test_a_study_says_how_many_further_images_nobody_assessed(others: int, end: str) -> None:
    answering = make_report(Decision.POSITIVE, "Found.")
    failures = [domain.Failure(source=f"{index}.png", reason="broken") for index in range(others)]
    answers: tuple[domain.Result, ...] = (answering, *failures)
    study = domain.Study("1.2.3", answers, answers[0])
    assert terminology.interpret_study("Found.", study) == end


def test_a_study_that_nobody_assessed_does_not_count_its_answering_image_twice() -> None:
    answering = make_report(Decision.OUT_OF_SCOPE, "Not assessed: lateral.")
    study = domain.Study("1.2.3", (answering,), answering)
    sentence = "Not assessed: lateral."
    assert terminology.interpret_study(sentence, study) == sentence


@pytest.mark.parametrize(
    ("single", "composite", "reasons", "decision"),
    [
        (0.1, 0.1, (), Decision.NEGATIVE),
        (0.5, 0.1, (), Decision.UNCERTAIN),
        (0.1, 0.5, (), Decision.UNCERTAIN),
        (0.9, 0.1, (), Decision.POSITIVE),
        (0.5, 0.9, (), Decision.POSITIVE),
        (0.1, None, (), Decision.NEGATIVE),
        (0.9, 0.9, (LATERAL,), Decision.OUT_OF_SCOPE),
    ],
)
def test_an_image_takes_its_most_urgent_decision(
    single: float,
    composite: float | None,
    reasons: tuple[ScopeReason, ...],
    decision: Decision,
) -> None:
    whole = None if composite is None else any_finding(composite)
    assert (
        terminology.decide_image([pneumonia(single), covid(0.0)], whole, scope_reasons=reasons)
        is decision
    )


def test_the_most_urgent_finding_is_shown_and_among_equals_the_most_probable() -> None:
    low = OperatingPoint(0.2, 0.2, 0.2)
    positive = Finding("TB", "tuberculosis", 0.3, low.decide(0.3), low)
    assert terminology.choose_shown_label([pneumonia(0.5), positive]) == "TB"
    assert terminology.choose_shown_label([pneumonia(0.1), covid(0.2)]) == "COVID19"
    assert terminology.choose_shown_label([]) == ""


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0, "<0.01"), (0.004, "<0.01"), (0.5, "0.50"), (0.996, ">0.99"), (1.0, ">0.99")],
)
def test_a_probability_is_never_written_as_a_certainty(probability: float, text: str) -> None:
    assert terminology.format_probability(probability) == text


def test_a_probability_is_never_rounded_across_its_threshold() -> None:
    point = OperatingPoint(0.5, 0.5, 0.5)
    assert terminology.format_probability(0.4996, operating_point=point) == "0.4996"
    assert terminology.format_probability(0.46, operating_point=point) == "0.46"


def test_a_map_says_what_its_strong_end_means() -> None:
    finding = pneumonia(0.9)
    assert terminology.describe_map(finding, against_others=True) == (
        "strong evidence for pneumonia against the other labels"
    )
    assert terminology.describe_map(covid(0.9, caveat=CAVEAT), against_others=True) == (
        "strong evidence for COVID-19 (experimental) against the other labels"
    )
    assert terminology.describe_map(finding, against_others=False) == (
        "strong evidence for pneumonia"
    )


def test_each_finding_is_reported_under_one_code() -> None:
    assert terminology.get_concept("PNEUMONIA", "pneumonia").value == "233604007"
    assert terminology.get_concept(domain.ANY_FINDING, "x") == terminology.ANY_FINDING_CODE
    local = terminology.get_concept("Hernia", "hernia\\wide")
    assert local == terminology.Code("Hernia", "99CHESTX", "hernia/wide")


def test_long_keys_get_codes_of_sixteen_characters_that_differ() -> None:
    keys = [f"A_key_of_more_than_{number}_characters" for number in range(50)]
    values = {terminology.get_concept(key, "x").value for key in keys}
    assert len(values) == 50
    assert {len(value) for value in values} == {16}


def test_only_what_lies_in_the_lung_is_said_to_lie_there() -> None:
    assert terminology.get_site("PNEUMONIA") == terminology.LUNG
    assert terminology.get_site("Cardiomegaly") == terminology.CHEST
    assert terminology.get_site(domain.ANY_FINDING) == terminology.CHEST


def test_an_operating_point_is_described_with_its_band_where_it_has_one() -> None:
    assert terminology.describe_operating_point(OperatingPoint(0.3856, 0.1859, 0.823)) == (
        "positive at or above 0.3856",
        "no decision from 0.1859 to below 0.823",
    )
    assert terminology.describe_operating_point(OperatingPoint(0.5, 0.5, 0.5)) == (
        "positive at or above 0.5",
    )


def test_a_model_is_told_by_its_checksum_precision_and_calibration() -> None:
    identity = domain.ModelIdentity("m", "1", "abc", site="North", site_profile="12" * 32)
    assert terminology.describe_identity(identity) == (
        "model checksum (SHA-256): abc",
        "precision: f32",
        "Thresholds: calibrated for North (site profile 121212121212).",
    )
