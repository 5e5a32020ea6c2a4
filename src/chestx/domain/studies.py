"""What is said of images that belong together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from chestx.domain.results import Decision


@runtime_checkable
class Answer(Protocol):
    """What a study is made of: a result, or what was written down of one."""

    @property
    def source(self) -> str:
        """Path as it was given."""
        ...

    @property
    def decision(self) -> Decision:
        """Of the image."""
        ...

    @property
    def study_instance_uid(self) -> str:
        """Empty where the file states none."""
        ...

    @property
    def patient_id(self) -> str:
        """Empty where the file states none."""
        ...


AnswerT = TypeVar("AnswerT", bound=Answer)


@dataclass(frozen=True, slots=True)
class Study(Generic[AnswerT]):
    """Images that belong together and the answer for all of them.

    Attributes:
        key: StudyInstanceUID, or the path of the one image that has none.
        answers: of its images in input order.
        answering: the one that speaks for the study.
    """

    key: str
    answers: tuple[AnswerT, ...]
    answering: AnswerT

    @property
    def decision(self) -> Decision:
        """The study's answer."""
        return self.answering.decision

    @property
    def not_assessed(self) -> int:
        """How many of its images nobody assessed."""
        return sum(not answer.decision.is_assessed for answer in self.answers)


def group_studies(answers: Iterable[AnswerT]) -> list[Study[AnswerT]]:
    """Groups images by StudyInstanceUID and patient, in order of first appearance.

    By both, because badly made files use one UID for several patients, and one of them
    must not vanish behind another.

    A study's answer is that of its most urgent assessed image (only frontal images
    are assessed); where none was assessed, that of its most urgent image. A broken
    file whose header names a study stays in it; an image without a UID is a study.
    """
    groups: dict[tuple[str, str], list[AnswerT]] = {}
    for position, answer in enumerate(answers):
        uid = answer.study_instance_uid
        groups.setdefault((uid, answer.patient_id if uid else str(position)), []).append(answer)
    studies = []
    for (uid, _), members in groups.items():
        assessed = [member for member in members if member.decision.is_assessed]
        answering = min(assessed or members, key=lambda member: member.decision.urgency)
        studies.append(Study(uid or members[0].source, tuple(members), answering))
    return studies
