"""The nouns of chestx: frozen, and valid once constructed.

Nothing here reads a file or knows a library beyond numpy. Every other layer
imports this one; this one imports none.
"""

from chestx.domain.card import ModelCard, ModelIdentity
from chestx.domain.errors import ChestxError, InvalidModelError, UnreadableImageError, UsageError
from chestx.domain.figures import (
    Figure,
    Precision,
    PrecisionFigure,
    PrecisionMeasure,
    PrecisionVariant,
)
from chestx.domain.images import ImageHeader, Quality, Radiograph, ScopeReason
from chestx.domain.inputs import Denoise, InputSpec, Limits, ScopeSpec
from chestx.domain.labels import Activation, FindingDecision, Label, LabelRole, OperatingPoint
from chestx.domain.results import Decision, Failure, Finding, Prediction, Report, Result
from chestx.domain.studies import Answer, AnswerT, Study, group_studies
from chestx.domain.texts import (
    AGE_BANDS,
    ANY_FINDING,
    CAVEAT,
    LABEL_KEY,
    MANUFACTURER,
    check_name,
    check_prose,
    format_count,
    name_age_band,
    starts_formula,
)

__all__ = [
    "AGE_BANDS",
    "ANY_FINDING",
    "CAVEAT",
    "LABEL_KEY",
    "MANUFACTURER",
    "Activation",
    "Answer",
    "AnswerT",
    "ChestxError",
    "Decision",
    "Denoise",
    "Failure",
    "Figure",
    "Finding",
    "FindingDecision",
    "ImageHeader",
    "InputSpec",
    "InvalidModelError",
    "Label",
    "LabelRole",
    "Limits",
    "ModelCard",
    "ModelIdentity",
    "OperatingPoint",
    "Precision",
    "PrecisionFigure",
    "PrecisionMeasure",
    "PrecisionVariant",
    "Prediction",
    "Quality",
    "Radiograph",
    "Report",
    "Result",
    "ScopeReason",
    "ScopeSpec",
    "Study",
    "UnreadableImageError",
    "UsageError",
    "check_name",
    "check_prose",
    "format_count",
    "group_studies",
    "name_age_band",
    "starts_formula",
]
