"""Every word that a reader sees, one :class:`Wording` a language."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Every word that a reader sees, in one language. Braces are filled in by name."""

    decisions: dict[str, str]
    """Value of a decision -> its word."""
    probabilities: tuple[tuple[float, str], ...]
    """Least probability -> its words, falling."""
    or_word: str
    headline: str
    features: str
    features_scored: str
    marked: str
    experimental: str
    caveated: str
    negative: str
    positive: str
    score: str
    not_told_apart: str
    not_told_apart_name: str
    uncertain: str
    uncertain_beside: str
    uncertain_part: str
    not_assessed: str
    unreadable: str
    further_image: str
    further_images: str
    map_low: str
    map_high: str
    map_high_softmax: str
    map_scale: str
    map_caveat: str
    no_map: str
    any_of_these: str
    bar_key: str
    calibrated: str
    not_calibrated: str
    thresholds: str
    region: str
    certainty: str
    certainty_of_any: str
    tracked: str
    tracked_image: str
    tracked_region: str
    decides: str
    abstains: str
    of_checksum: str
    of_precision: str


ENGLISH = Wording(
    decisions={
        "positive": "positive",
        "uncertain": "uncertain",
        "failed": "failed",
        "out_of_scope": "out of scope",
        "negative": "negative",
    },
    probabilities=(
        (0.9, "very high probability"),
        (0.7, "high probability"),
        (0.4, "moderate probability"),
        (0.1, "low probability"),
        (0.0, "very low probability"),
    ),
    or_word="or",
    headline="{decision}: {basis}",
    features="features of {names}",
    features_scored="{features} {number}",
    marked="{text} ({mark})",
    experimental="experimental",
    caveated="see caveat",
    negative="No features of {names} found; other disease not assessed.",
    positive="Features of {names} found ({score}).",
    score="{words}, {number}",
    not_told_apart="Features of {names} found, not told apart ({score}).",
    not_told_apart_name="{names}, not told apart,",
    uncertain="Uncertain: {parts}, where the model does not decide; a physician must decide.",
    uncertain_beside="Not decided: {parts}.",
    uncertain_part="{name} {number} lies inside the band {low}\u2013{high}",
    not_assessed="Not assessed: {reasons}.",
    unreadable="Not assessed: the file could not be read: {reason}.",
    further_image="1 further image of this study was not assessed.",
    further_images="{count} further images of this study were not assessed.",
    map_low="none",
    map_high="strong evidence for {name}",
    map_high_softmax="strong evidence for {name} against the other labels",
    map_scale="Fixed scale.",
    map_caveat="A heatmap shows what moved the score; it is not a boundary.",
    no_map="No heatmap.",
    any_of_these="any of these",
    bar_key="Bar: probability 0 to 1; tick: threshold; light part: no decision.",
    calibrated="calibrated for {site} (site profile {checksum})",
    not_calibrated="not calibrated for this site",
    thresholds="Thresholds: {description}.",
    region="Heatmap evidence; not a boundary.",
    certainty="Calibrated probability that features of {name} are present",
    certainty_of_any="Calibrated probability that features of any finding looked for are present",
    tracked="{key}, image {number}",
    tracked_image="image {number}",
    tracked_region="{key}, image {number}, region {region}",
    decides="positive at or above {threshold}",
    abstains="no decision from {low} to below {high}",
    of_checksum="model checksum (SHA-256): {checksum}",
    of_precision="precision: {precision}",
)
