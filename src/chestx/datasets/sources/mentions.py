"""The fourteen observations of the CheXpert labeller, as CheXpert and MIMIC-CXR-JPG print them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chestx.datasets.example import Target
from chestx.datasets.sources.common import Row
from chestx.datasets.sources.registry import Uncertain

WORDS: Mapping[str, str] = {
    "No Finding": "NO_FINDING",
    "Enlarged Cardiomediastinum": "ENLARGED_CARDIOMEDIASTINUM",
    "Cardiomegaly": "CARDIOMEGALY",
    "Lung Opacity": "LUNG_OPACITY",
    "Lung Lesion": "LUNG_LESION",
    "Edema": "EDEMA",
    "Consolidation": "CONSOLIDATION",
    "Pneumonia": "PNEUMONIA",
    "Atelectasis": "ATELECTASIS",
    "Pneumothorax": "PNEUMOTHORAX",
    "Pleural Effusion": "PLEURAL_EFFUSION",
    "Pleural Other": "PLEURAL_OTHER",
    "Fracture": "FRACTURE",
    "Support Devices": "SUPPORT_DEVICES",
}
"""Column -> term."""

LABELS = tuple(WORDS.values())

PARENTS: Mapping[str, tuple[str, ...]] = {
    "ENLARGED_CARDIOMEDIASTINUM": ("CARDIOMEGALY",),
    "LUNG_OPACITY": ("LUNG_LESION", "EDEMA", "CONSOLIDATION", "PNEUMONIA", "ATELECTASIS"),
}
"""Wide term -> its kinds. Source: Irvin et al., CheXpert, arXiv:1901.07031, figure 1."""

_UNCERTAIN: Mapping[Uncertain, Target] = {
    "ones": Target.PRESENT,
    "zeros": Target.ABSENT,
    "ignore": Target.UNKNOWN,
}
_CELLS: Mapping[str, Target] = {
    "1.0": Target.PRESENT, "1": Target.PRESENT,
    "0.0": Target.ABSENT, "0": Target.ABSENT,
}  # fmt: skip
_UNCERTAIN_CELLS = frozenset({"-1.0", "-1"})


def doubt_parents(targets: Mapping[str, Target], parents: Collection[str]) -> dict[str, Target]:
    """Takes back an *absent* of a wide term where one of its kinds may be there.

    A labeller that found pneumonia and no word for opacity did not say that there is no
    opacity.

    Args:
        targets: of one image, by term.
        parents: wide terms that nobody was asked for by name on this image.

    Returns:
        The targets with such parents unknown.
    """
    doubted = {
        parent: Target.UNKNOWN
        for parent in parents
        if targets.get(parent) is Target.ABSENT
        and any(
            targets.get(kind, Target.ABSENT) in (Target.PRESENT, Target.UNKNOWN)
            for kind in PARENTS[parent]
        )
    }
    return {**targets, **doubted}


@dataclass(slots=True)
class MentionReader:
    """Turns rows of mentions into targets and counts what it had to settle.

    Attributes:
        uncertain: what becomes of -1; None is ``ignore``.
        missing: columns of WORDS that the table does not have; their labels were not asked.
        blanks, uncertains, cells, doubts: counted so far.
    """

    uncertain: Uncertain | None
    missing: frozenset[str] = frozenset()
    blanks: int = field(default=0, init=False)
    uncertains: int = field(default=0, init=False)
    cells: int = field(default=0, init=False)
    doubts: int = field(default=0, init=False)

    def read_targets(self, row: Row) -> tuple[Target, ...]:
        """Targets in the order of LABELS.

        Raises:
            UsageError: a cell that is none of 1.0, 0.0, -1.0 and empty.
        """
        targets = {term: self._read_cell(row, word) for word, term in WORDS.items()}
        unsaid = [
            term for word, term in WORDS.items() if term in PARENTS and not self._is_said(row, word)
        ]
        settled = doubt_parents(targets, unsaid)
        self.doubts += sum(settled[term] is not targets[term] for term in unsaid)
        return tuple(settled.values())

    def _is_said(self, row: Row, word: str) -> bool:
        return word in self.missing or row[word] != ""

    def _read_cell(self, row: Row, word: str) -> Target:
        if word in self.missing:
            return Target.NOT_ASKED
        cell = row[word]
        self.cells += 1
        if not cell:
            self.blanks += 1
            return Target.ABSENT
        if cell in _UNCERTAIN_CELLS:
            self.uncertains += 1
            return _UNCERTAIN[self.uncertain or "ignore"]
        if cell not in _CELLS:
            raise row.fail(f"expected 1.0, 0.0, -1.0 or nothing in {word!r}, got {cell!r:.40}")
        return _CELLS[cell]

    def notes(self) -> tuple[str, ...]:
        """What was settled, a sentence each."""
        made = []
        if self.blanks:
            made.append(
                f"{self.blanks:,} of {self.cells:,} label cells are empty: the report does not "
                "mention the finding. They count as absent, as in the published baselines, "
                "which is not the same as a reader who looked and saw nothing."
            )
        if self.doubts:
            made.append(
                f"{self.doubts:,} of these are of LUNG_OPACITY or ENLARGED_CARDIOMEDIASTINUM "
                "where a kind of it is present or uncertain; those are unknown instead."
            )
        if self.uncertains:
            became = {"ones": "present", "zeros": "absent", "ignore": "unknown"}
            chosen = self.uncertain or "ignore"
            made.append(
                f"{self.uncertains:,} label cells are uncertain (-1) and became {became[chosen]} "
                f"(--uncertain {chosen})."
            )
        return tuple(made)
