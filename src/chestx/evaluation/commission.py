"""A site's own acceptance test: is this model good enough here, and at which thresholds?

The site's labelled images are parted by patient. On the first half temperature and
thresholds are chosen, on the second half the model is measured with them and held
against criteria that were stated before. A criterion is met only where the whole 95 %
interval lies on its good side: with few images nothing is proved, and that is said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

import numpy as np

from chestx import __version__
from chestx.datasets.stratify import deal_groups
from chestx.domain import Figure, UsageError, check_name
from chestx.evaluation.figures import ABSTAINING, FORCED, Share, measure_share
from chestx.evaluation.measure import measure
from chestx.evaluation.outcomes import Outcomes, list_questions
from chestx.evaluation.page_figures import get_side
from chestx.evaluation.recalibrate import (
    CalibrationRules,
    decide_again,
    describe_calibration_images,
    recalibrate,
)
from chestx.evaluation.result import ALL, Evaluation
from chestx.metrics import bootstrap_figures
from chestx.models.site import FORMAT_VERSION, SiteProfile
from chestx.shapes import Bool

REFUSED = "refused"
"""Name of the criterion on the share of images that are failed or out of scope."""

SLICED_BY = ("source",)
"""Columns that the figures are told by."""

_CRITERION = re.compile(
    r"\s*(?:([A-Za-z][A-Za-z0-9_]*)\s+)?([^<>=]+?)\s*(<=|>=)\s*([0-9.eE+-]+)\s*"
)
_MIN_GROUPS = 20


class Verdict(StrEnum):
    """Of a criterion."""

    MET = "met"
    NOT_SHOWN = "not shown"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Criterion:
    """What must hold, e.g. ``any_finding sensitivity >= 0.85`` or ``refused <= 0.03``.

    Attributes:
        finding: label key or ANY_FINDING; empty for ``refused``.
        figure: name as in the evaluation's tables.
        at_least: whether more is better.
        limit: of the figure.
    """

    finding: str
    figure: str
    at_least: bool
    limit: float

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """From the text that a person writes.

        Raises:
            UsageError: another text.
        """
        found = _CRITERION.fullmatch(text)
        try:
            limit = float(found[4]) if found else math.nan
        except ValueError:
            limit = math.nan
        is_refused = bool(found) and found is not None and not found[1] and found[2] == REFUSED
        if found is None or not math.isfinite(limit) or not (found[1] or is_refused):
            raise UsageError(
                "criterion: expected FINDING FIGURE >= NUMBER (or <=), e.g. "
                f"'any_finding sensitivity >= 0.85' or 'refused <= 0.03', got {text!r:.80}"
            )
        return cls(found[1] or "", found[2], found[3] == ">=", limit)

    def judge(self, figure: Figure) -> Verdict:
        """Whether the figure's interval lies on the good side of the limit."""
        if figure.low is None or figure.high is None:
            return Verdict.NOT_SHOWN
        worst, best = (figure.low, figure.high) if self.at_least else (figure.high, figure.low)
        sign = 1 if self.at_least else -1
        if sign * worst >= sign * self.limit:
            return Verdict.MET
        return Verdict.NOT_SHOWN if sign * best >= sign * self.limit else Verdict.MISSED

    def __str__(self) -> str:
        name = f"{self.finding} {self.figure}".strip()
        return f"{name} {'>=' if self.at_least else '<='} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A criterion with what was found."""

    criterion: Criterion
    figure: Figure
    verdict: Verdict

    def __str__(self) -> str:
        found = f"{self.figure.value:.3f}"
        if self.figure.low is not None:
            found += f" ({self.figure.low:.3f} to {self.figure.high:.3f})"
        return f"{self.criterion}: {found}, n = {self.figure.n}: {self.verdict}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Commissioning:
    """What came of an acceptance test.

    Attributes:
        before, after: on the accepting half, with the card's settings (all images together) and
            with the site's.
        accepted_outcomes: of the accepting half with the site's settings.
        judged: every criterion.
        profile: the signed profile; None where a criterion is not met.
        chosen_on, accepted_on: the two halves in words.
    """

    before: Evaluation
    after: Evaluation
    accepted_outcomes: Outcomes
    judged: tuple[Judged, ...]
    profile: SiteProfile | None
    chosen_on: str
    accepted_on: str

    @property
    def is_accepted(self) -> bool:
        """Whether every criterion is met."""
        return self.profile is not None


def commission(
    outcomes: Outcomes,
    *,
    site: str,
    signed_by: str,
    criteria: Sequence[Criterion],
    rules: CalibrationRules,
    data: str,
    manifest_sha256: str,
    left_out: dict[str, int],
    signed_on: date,
    seed: int = 0,
    repeats: int = 1000,
) -> Commissioning:
    """Chooses a site's settings on one half of its images and judges them on the other.

    Args:
        outcomes: of the site's labelled images.
        site: its name.
        signed_by: the person who answers for the profile.
        criteria: stated before; at least one.
        rules: how the settings are chosen.
        data: name of the images.
        manifest_sha256, left_out: of the manifest.
        signed_on: date of the signature.
        seed: of the parting and of the intervals.
        repeats: draws of the bootstrap.

    Raises:
        UsageError: no criterion, one that names nothing that is measured, or too few images.
    """
    _check_request(outcomes, criteria, site=site, signed_by=signed_by)
    is_first = halve_outcomes(outcomes, seed=seed)
    first, second = take_outcomes(outcomes, is_first), take_outcomes(outcomes, ~is_first)
    card = recalibrate(first, rules)
    again = decide_again(second, card, identity=outcomes.identity)
    settings = {"data": data, "manifest_sha256": manifest_sha256, "left_out": left_out}
    before = measure(second, **settings, seed=seed, repeats=repeats, columns=())  # type: ignore[arg-type]
    after = measure(again, **settings, seed=seed, repeats=repeats, columns=SLICED_BY)  # type: ignore[arg-type]
    judged = tuple(_judge(criterion, after, again) for criterion in criteria)
    chosen_on = describe_calibration_images(first, f"the first half of {data}")
    accepted_on = describe_calibration_images(second, f"the second half of {data}")
    profile = None
    if all(item.verdict is Verdict.MET for item in judged):
        points = {
            question.key: question.operating_point
            for question in list_questions(again)
            if question.operating_point is not None
        }
        try:
            profile = SiteProfile(
                format_version=FORMAT_VERSION,
                site=site,
                model_name=outcomes.identity.name,
                model_version=outcomes.identity.version,
                model_checksum=outcomes.identity.checksum,
                model_precision=outcomes.identity.precision,
                temperature=card.temperature,
                operating_points=points,
                chosen_on=chosen_on,
                accepted_on=accepted_on,
                performance=tuple(_round(item.figure) for item in judged),
                criteria=tuple(str(item) for item in judged),
                manifest_sha256=manifest_sha256,
                signed_by=signed_by,
                signed_on=signed_on.isoformat(),
                software=__version__,
            )
        except ValueError as error:
            raise UsageError(f"site profile: {error}") from error
    return Commissioning(
        before=before,
        after=after,
        accepted_outcomes=again,
        judged=judged,
        profile=profile,
        chosen_on=chosen_on,
        accepted_on=accepted_on,
    )


def halve_outcomes(outcomes: Outcomes, *, seed: int) -> Bool[np.ndarray, " images"]:
    """Which images the settings are chosen on: half of the patients, alike in their labels."""
    _, numbers = np.unique(outcomes.groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(numbers.max() + 1)
    places = np.argsort(order)[numbers]
    strata = (outcomes.targets == 1).astype(np.int64)
    strata = np.column_stack([strata, strata.sum(axis=1) == 0])
    counts = np.zeros((len(order), strata.shape[1]), dtype=np.int64)
    np.add.at(counts, places, strata)
    parts = deal_groups(counts, np.bincount(places), np.array([0.5, 0.5]))
    return np.asarray(parts[places] == 0)


def take_outcomes(outcomes: Outcomes, taken: Bool[np.ndarray, " images"]) -> Outcomes:
    """The rows of some images."""
    rows = np.flatnonzero(taken)
    return replace(
        outcomes,
        paths=tuple(outcomes.paths[row] for row in rows),
        decisions=tuple(outcomes.decisions[row] for row in rows),
        reasons=tuple(outcomes.reasons[row] for row in rows),
        targets=outcomes.targets[rows],
        logits=outcomes.logits[rows],
        probabilities=outcomes.probabilities[rows],
        embeddings=outcomes.embeddings[rows],
        groups=outcomes.groups[rows],
        attributes={
            name: tuple(values[row] for row in rows) for name, values in outcomes.attributes.items()
        },
        boxes=tuple(outcomes.boxes[row] for row in rows),
        image_sizes=outcomes.image_sizes[rows],
        formats=tuple(outcomes.formats[row] for row in rows),
        thumbnails=outcomes.thumbnails[rows],
    )


def _check_request(
    outcomes: Outcomes, criteria: Sequence[Criterion], *, site: str, signed_by: str
) -> None:
    if not criteria:
        raise UsageError(
            "criteria: expected at least one, e.g. 'any_finding sensitivity >= 0.85', got none; "
            "what is good enough must be said before it is measured"
        )
    for what, name in (("site", site), ("signed_by", signed_by)):
        try:
            check_name(what, name)
        except ValueError as error:
            raise UsageError(f"site profile: {error}") from error
    keys = [question.key for question in list_questions(outcomes)]
    for criterion in criteria:
        if criterion.finding and criterion.finding not in keys:
            raise UsageError(
                f"criterion {criterion}: expected one of {', '.join(keys)}, "
                f"got {criterion.finding!r:.64}"
            )
    groups = len(np.unique(outcomes.groups))
    if groups < _MIN_GROUPS:
        raise UsageError(
            f"commissioning: expected images of at least {_MIN_GROUPS} patients, got {groups}"
        )


def _judge(criterion: Criterion, evaluation: Evaluation, outcomes: Outcomes) -> Judged:
    figure = _find_figure(criterion, evaluation, outcomes)
    return Judged(criterion, figure, criterion.judge(figure))


def _find_figure(criterion: Criterion, evaluation: Evaluation, outcomes: Outcomes) -> Figure:
    """Decisions with uncertain forced to the nearer side, because every image is read."""
    if not criterion.finding:
        return _measure_refused(evaluation, outcomes)
    answered = next(
        item
        for item in evaluation.answers
        if item.slice_key == ALL and item.question == criterion.finding
    )
    # Of a decision's figures those that force uncertain answers; coverage and its like have none.
    figure = next(
        (
            figure
            for side in ("", FORCED, ABSTAINING)
            for figure in answered.figures
            if figure.name == criterion.figure and get_side(figure, answered) == side
        ),
        None,
    )
    if figure is None:
        names = sorted({item.name for item in answered.figures})
        reason = f" ({answered.note})" if answered.note else ""
        raise UsageError(
            f"criterion {criterion}: expected one of the figures {', '.join(names)}{reason}, "
            f"got {criterion.figure!r:.64}"
        )
    return figure


def _measure_refused(evaluation: Evaluation, outcomes: Outcomes) -> Figure:
    """Share of the images that the model did not assess; whole patients are drawn."""
    share = Share(~outcomes.is_assessed, np.ones(len(outcomes), dtype=bool))
    drawn = bootstrap_figures(
        lambda weights: {REFUSED: share.draw(weights)},
        outcomes.groups,
        generator=np.random.default_rng(int(evaluation.settings["seed"])),
        repeats=int(evaluation.settings["repeats"]),
    )
    subject = "images failed or out of scope"
    figure = measure_share(
        REFUSED, subject, evaluation.data, share, outcomes.groups, drawn=drawn[REFUSED]
    )
    assert figure is not None  # There are images.
    return figure


def _round(figure: Figure) -> Figure:
    """A figure of a profile needs no more digits than its interval bears."""
    value, low, high = (
        None if number is None else round(number, 4)
        for number in (figure.value, figure.low, figure.high)
    )
    assert value is not None
    return replace(figure, value=value, low=low, high=high)
