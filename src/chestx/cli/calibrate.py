"""``chestx calibrate`` and ``chestx commission``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chestx.cli.console import EXIT_OK, EXIT_SOME_FAILED, say, show_progress
from chestx.cli.manifest import (
    ColumnOption,
    LabelsOption,
    ManifestArgument,
    RenameOption,
    SeedOption,
    WhereOption,
    read_manifest_options,
    say_reading,
)
from chestx.cli.optimize import PrecisionOption
from chestx.domain import CAVEAT, UsageError

if TYPE_CHECKING:
    from chestx.datasets.manifest import ManifestTable
    from chestx.evaluation.outcomes import Outcomes
    from chestx.evaluation.recalibrate import CalibrationRules
    from chestx.models.classifier import Classifier

ModelArgument = Annotated[
    str,
    typer.Argument(help="Model folder or name, or default for the one shipped."),
]
ThresholdOption = Annotated[
    str,
    typer.Option(
        "--threshold",
        metavar="RULE",
        help="sensitivity=S, specificity=S, youden, cost=RATIO@PREVALENCE or ppv=PPV@PREVALENCE.",
    ),
]
ThresholdForOption = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold-for",
        metavar="FINDING:RULE",
        help="Another rule for one finding, or for any_finding. Repeatable.",
        show_default=False,
    ),
]
AbstainOption = Annotated[
    str,
    typer.Option(
        "--abstain",
        metavar="RULE",
        help="error=RATIO@SHARE, risk=R, coverage=C, conformal=ALPHA or none.",
    ),
]
KeepTemperatureOption = Annotated[
    bool, typer.Option("--keep-temperature", help="Leave the temperature as it is.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", help="Child processes that decode; default: one a core."),
]


def calibrate(
    model: ModelArgument,
    manifest: ManifestArgument,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The new model folder.", show_default=False),
    ],
    split: Annotated[
        str, typer.Option("--split", help="Rows that are used, where the manifest has splits.")
    ] = "validation",
    threshold: ThresholdOption = "sensitivity=0.95",
    threshold_for: ThresholdForOption = None,
    abstain: AbstainOption = "error=0.5@0.1",
    keep_temperature: KeepTemperatureOption = False,
    version: Annotated[
        str | None,
        typer.Option("--version", help="Of the new model; default: the old one and +calibrated."),
    ] = None,
    columns: ColumnOption = None,
    labels: LabelsOption = None,
    rename: RenameOption = None,
    where: WhereOption = None,
    workers: WorkersOption = None,
) -> None:
    """Choose temperature, thresholds and abstention anew; writes a new model folder."""
    from chestx.evaluation.recalibrate import (
        describe_calibration_images,
        make_calibrated_card,
        recalibrate,
        take_calibration_rows,
    )
    from chestx.models.derive import derive_model_folder

    rules = read_rules(threshold, threshold_for, abstain, keep_temperature)
    if os.path.lexists(output):
        raise UsageError(
            f"{str(output)!r}: expected a name that is free, something is there already"
        )
    table = read_manifest_options(
        manifest, columns=columns, labels=labels, rename=rename, where=where
    )
    table, name = take_calibration_rows(table, split=split, name=manifest.name)
    classifier = _load(model)
    outcomes = _collect(classifier, table, workers)
    old = classifier.card
    chosen_on = describe_calibration_images(outcomes, name)
    card = make_calibrated_card(
        recalibrate(outcomes, rules),
        old,
        rules,
        version=version or f"{old.version}+calibrated",
        chosen_on=chosen_on,
    )
    folder = derive_model_folder(classifier.folder, output, card=card)
    say_reading(table)
    say(f"chosen on {chosen_on}")
    say(f"temperature {old.temperature:.4g} -> {card.temperature:.4g}")
    for before, after in zip(old.labels, card.labels, strict=True):
        if before.operating_point is not None and after.operating_point is not None:
            say(
                f"{before.key}: threshold {before.operating_point.threshold:.3f} -> "
                f"{after.operating_point.threshold:.3f}"
            )
    if old.any_finding is not None and card.any_finding is not None:
        say(
            f"any_finding: threshold {old.any_finding.threshold:.3f} -> "
            f"{card.any_finding.threshold:.3f}"
        )
    say(f"model {folder.identity} in {output}")
    say("measure it on images that were not used here: chestx evaluate")
    say(CAVEAT)


def commission(
    model: ModelArgument,
    manifest: ManifestArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the result.", show_default=False)
    ],
    site: Annotated[str, typer.Option("--site", help="Name of the site.", show_default=False)],
    signed_by: Annotated[
        str,
        typer.Option("--signed-by", help="Who answers for the profile.", show_default=False),
    ],
    criteria: Annotated[
        list[str],
        typer.Option(
            "--require",
            metavar="CRITERION",
            help="What must hold, e.g. 'any_finding sensitivity >= 0.85' or 'refused <= 0.03'. "
            "Repeatable.",
            show_default=False,
        ),
    ],
    threshold: ThresholdOption = "sensitivity=0.95",
    threshold_for: ThresholdForOption = None,
    abstain: AbstainOption = "error=0.5@0.1",
    keep_temperature: KeepTemperatureOption = False,
    columns: ColumnOption = None,
    labels: LabelsOption = None,
    rename: RenameOption = None,
    where: WhereOption = None,
    precision: PrecisionOption = "f32",
    seed: SeedOption = 0,
    repeats: Annotated[int, typer.Option("--repeats", help="Draws of each interval.")] = 1000,
    workers: WorkersOption = None,
) -> int:
    """A site's acceptance test: choose its thresholds, measure, judge, sign a site profile.

    Exit code 0: accepted; 3: a criterion is not met, and no profile was written.
    """
    from datetime import UTC, datetime

    from chestx.evaluation.commission import Criterion
    from chestx.evaluation.commission import commission as run_commission
    from chestx.evaluation.commission_page import PROFILE, check_output, write_commissioning
    from chestx.evaluation.measure import check_repeats

    check_output(output)
    check_repeats(repeats)
    rules = read_rules(threshold, threshold_for, abstain, keep_temperature)
    wanted = [Criterion.parse(text) for text in criteria]
    table = read_manifest_options(
        manifest, columns=columns, labels=labels, rename=rename, where=where
    )
    classifier = _load(model, precision=precision)
    outcomes = _collect(classifier, table, workers)
    result = run_commission(
        outcomes,
        site=site,
        signed_by=signed_by,
        criteria=wanted,
        rules=rules,
        data=manifest.name,
        manifest_sha256=table.sha256,
        left_out=dict(table.left_out),
        signed_on=datetime.now(UTC).date(),
        seed=seed,
        repeats=repeats,
    )
    write_commissioning(result, output, card=classifier.card, site=site, signed_by=signed_by)
    say_reading(table)
    for item in result.judged:
        say(str(item))
    if result.is_accepted:
        say(f"accepted; the profile is {output / PROFILE}: chestx predict --site-profile")
    else:
        say(f"not accepted, no profile was written; see {output / 'commission.html'}")
    say(f"model {classifier.identity}")
    say(CAVEAT)
    return EXIT_OK if result.is_accepted else EXIT_SOME_FAILED


def read_rules(
    threshold: str, threshold_for: list[str] | None, abstain: str, keep_temperature: bool
) -> CalibrationRules:
    """Rules as the options say them.

    Raises:
        UsageError: one that is none, or a finding named twice.
    """
    from chestx.evaluation.recalibrate import CalibrationRules
    from chestx.evaluation.rules import AbstentionRule, ThresholdRule

    by_finding = {}
    for text in threshold_for or ():
        key, colon, rule = text.partition(":")
        if not colon or key.strip() in by_finding:
            raise UsageError(
                f"--threshold-for: expected FINDING:RULE with every finding once, got {text!r:.80}"
            )
        by_finding[key.strip()] = ThresholdRule.parse(rule)
    return CalibrationRules(
        threshold=ThresholdRule.parse(threshold),
        by_finding=by_finding,
        abstention=AbstentionRule.parse(abstain),
        keep_temperature=keep_temperature,
    )


def _load(model: str, *, precision: str = "f32") -> Classifier:
    from chestx.models.classifier import Classifier

    return Classifier.load(None if model == "default" else model, precision=precision)


def _collect(classifier: Classifier, table: ManifestTable, workers: int | None) -> Outcomes:
    from chestx.evaluation.collect import collect_outcomes

    with show_progress(len(table.manifest.examples), quiet=False) as advance:
        return collect_outcomes(
            classifier,
            table,
            workers=workers,
            keep_embeddings=False,
            on_image=lambda done, total: advance(),
        )
