"""One vocabulary for what sources call by many names.

A term means the same wherever it comes from, so sets can be joined; what a source's word
does not clearly mean is not forced into a term. ``NORMAL`` is a reader's verdict on the
whole image, ``NO_FINDING`` only says that a report named none of the source's labels.
"""

from __future__ import annotations

from collections.abc import Mapping

from chestx.domain import UsageError

TERMS: Mapping[str, str] = {
    "NORMAL": "read as normal by a person",
    "NO_FINDING": "none of the source's labels was named",
    "ABNORMAL": "read as not normal, without saying what",
    "PNEUMONIA": "pneumonia of any cause",
    "BACTERIAL_PNEUMONIA": "pneumonia said to be bacterial",
    "VIRAL_PNEUMONIA": "pneumonia said to be viral, other than COVID-19",
    "COVID19": "image of a patient with COVID-19",
    "TUBERCULOSIS": "image of a patient with tuberculosis",
    "LUNG_OPACITY": "opacity of the lung of any cause",
    "CONSOLIDATION": "consolidation",
    "INFILTRATION": "infiltrate",
    "INTERSTITIAL_PATTERN": "interstitial markings or lung disease",
    "ATELECTASIS": "collapse of a part of the lung",
    "PLEURAL_EFFUSION": "fluid in the pleural space",
    "PLEURAL_THICKENING": "thickened pleura",
    "PLEURAL_OTHER": "other disease of the pleura",
    "PNEUMOTHORAX": "air in the pleural space",
    "EDEMA": "pulmonary oedema",
    "CARDIOMEGALY": "enlarged heart",
    "ENLARGED_CARDIOMEDIASTINUM": "wide mediastinum or heart",
    "AORTIC_ENLARGEMENT": "wide or elongated aorta",
    "LUNG_LESION": "nodule, mass or other focal lesion",
    "NODULE": "nodule",
    "MASS": "mass",
    "EMPHYSEMA": "emphysema",
    "FIBROSIS": "fibrosis",
    "CALCIFICATION": "calcification",
    "HERNIA": "hiatal hernia",
    "FRACTURE": "fracture",
    "SUPPORT_DEVICES": "tubes, lines, pacemakers",
    "OTHER_FINDING": "a finding that has no term here",
}
"""Term -> what it means. A term is a label key of a manifest."""


def align_label(word: str, words: Mapping[str, str], *, source: str) -> str:
    """The term for a source's word.

    Args:
        word: as it stands in the source's file.
        words: the source's words -> terms.
        source: name for the error.

    Raises:
        UsageError: the source is not known to use this word.
    """
    try:
        return words[word]
    except KeyError:
        raise UsageError(
            f"{source}: expected one of the labels {', '.join(sorted(words))}, got {word!r:.80}; "
            "a newer edition of the set may have added it"
        ) from None
