"""Figures from plain arrays; numpy alone, no state, no randomness of its own.

A function with a plural name (``compute_aurocs``) takes a table of weights, one row a
draw of the bootstrap, and gives one figure a row; the singular one takes every image
once. What cannot be computed, such as a share of nothing, is NaN.
"""

from chestx.metrics.calibration import (
    BrierParts,
    ProbabilityBin,
    bin_probabilities,
    compute_brier,
    compute_briers,
    compute_debiased_ece,
    compute_debiased_eces,
    compute_ece,
    compute_eces,
    compute_log_loss,
    compute_log_losses,
    decompose_brier,
)
from chestx.metrics.decisions import (
    Counts,
    compute_accuracy,
    compute_balanced_accuracy,
    compute_decision_figures,
    compute_f1,
    compute_mcc,
    compute_negative_likelihood_ratio,
    compute_npv,
    compute_positive_likelihood_ratio,
    compute_ppv,
    compute_sensitivity,
    compute_sensitivity_specificity,
    compute_specificity,
    count_decisions,
)
from chestx.metrics.delong import (
    DelongComparison,
    compute_delong_variance,
    delong_interval,
    delong_test,
)
from chestx.metrics.intervals import (
    likelihood_ratio_intervals,
    predictive_value_intervals,
    wilson_interval,
)
from chestx.metrics.multiclass import (
    Average,
    ClassificationReport,
    ReportRow,
    average_figures,
    compute_multilabel_auroc,
    count_classes,
    count_confusions,
    report_classes,
)
from chestx.metrics.prevalence import compute_npv_at, compute_ppv_at
from chestx.metrics.quantiles import compute_quantiles
from chestx.metrics.ranking import (
    Curve,
    compute_auroc,
    compute_aurocs,
    compute_average_precision,
    compute_average_precisions,
    compute_precision_recall_curve,
    compute_roc_curve,
)
from chestx.metrics.recalibration import CalibrationLine, compute_calibration_lines, fit_calibration
from chestx.metrics.resampling import Estimate, bootstrap_figures, bootstrap_interval, draw_weights
from chestx.metrics.selective import (
    RiskCoverage,
    compute_aurc,
    compute_aurcs,
    compute_risk_coverage,
    compute_selective_figures,
)

__all__ = [
    "Average",
    "BrierParts",
    "CalibrationLine",
    "ClassificationReport",
    "Counts",
    "Curve",
    "DelongComparison",
    "Estimate",
    "ProbabilityBin",
    "ReportRow",
    "RiskCoverage",
    "average_figures",
    "bin_probabilities",
    "bootstrap_figures",
    "bootstrap_interval",
    "compute_accuracy",
    "compute_aurc",
    "compute_aurcs",
    "compute_auroc",
    "compute_aurocs",
    "compute_average_precision",
    "compute_average_precisions",
    "compute_balanced_accuracy",
    "compute_brier",
    "compute_briers",
    "compute_calibration_lines",
    "compute_debiased_ece",
    "compute_debiased_eces",
    "compute_decision_figures",
    "compute_delong_variance",
    "compute_ece",
    "compute_eces",
    "compute_f1",
    "compute_log_loss",
    "compute_log_losses",
    "compute_mcc",
    "compute_multilabel_auroc",
    "compute_negative_likelihood_ratio",
    "compute_npv",
    "compute_npv_at",
    "compute_positive_likelihood_ratio",
    "compute_ppv",
    "compute_ppv_at",
    "compute_precision_recall_curve",
    "compute_quantiles",
    "compute_risk_coverage",
    "compute_roc_curve",
    "compute_selective_figures",
    "compute_sensitivity",
    "compute_sensitivity_specificity",
    "compute_specificity",
    "count_classes",
    "count_confusions",
    "count_decisions",
    "decompose_brier",
    "delong_interval",
    "delong_test",
    "draw_weights",
    "fit_calibration",
    "likelihood_ratio_intervals",
    "predictive_value_intervals",
    "report_classes",
    "wilson_interval",
]
