"""A page of words, tables and pictures that stands alone: one HTML file, no network, no script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import jinja2
from markupsafe import Markup

from chestx.domain import CAVEAT

Tone = Literal["plain", "good", "warning", "bad"]

_NUMBER = re.compile(
    "[+\\-\u2212<>\u00b1]? ?[.]?[0-9][0-9.,]*( ?%)?( ?/ ?[0-9.,]+)*( ?[(][^()]*[)])?"
)

# Invisible, or able to turn round what stands beside it; lone surrogates are no text at all.
_UNSEEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    r"\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A few sentences.

    Attributes:
        text: plain, never HTML.
        tone: ``bad`` and ``warning`` stand in a coloured box.
    """

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of texts; numbers stand to the right.

    Attributes:
        caption: what the rows are.
        columns: heads.
        rows: one text a column.
        note: below it, what a reader must know to not be misled.
        tones: one a row where some rows stand out; empty for none.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    tones: Sequence[Tone] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"expected {len(self.columns)} cells a row, got {len(row)}")
        if self.tones and len(self.tones) != len(self.rows):
            raise ValueError(f"expected {len(self.rows)} tones, got {len(self.tones)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureBlock:
    """A picture with its words.

    Attributes:
        data: bytes of a PNG, JPEG or SVG.
        media_type: of the bytes.
        alt: what it shows, for one who cannot see it.
        caption: below it.
        width: at most, in CSS pixels.
    """

    data: bytes
    media_type: Literal["image/png", "image/jpeg", "image/svg+xml"]
    alt: str
    caption: str = ""
    width: int = 720

    @property
    def uri(self) -> str:
        """The picture as text."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class Gallery:
    """Small pictures side by side."""

    pictures: Sequence[PictureBlock]


Block = Paragraph | Table | PictureBlock | Gallery


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A page.

    Attributes:
        title: of the page.
        summary: the answer, before any detail.
        speaker: model, version and checksum, or the name and version of what speaks.
        sections: in order.
    """

    title: str
    summary: Sequence[Paragraph]
    speaker: str
    sections: Sequence[Section]


def render_document(document: Document) -> str:
    """The page as HTML, to be written as UTF-8.

    Every text is escaped, and what cannot be seen in it is written as an escape; the content
    security policy allows its own style and pictures only.
    """
    template, style, policy = _load_template()
    return template.render(document=document, style=style, policy=policy, caveat=CAVEAT)


def is_number(text: str) -> bool:
    """Whether a cell is set to the right: a figure, with its interval or a second one or not."""
    return _NUMBER.fullmatch(text) is not None


def _make_visible(value: object) -> object:
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNSEEN.sub(lambda match: ascii(match.group())[1:-1], value)


@cache
def _load_template() -> tuple[jinja2.Template, str, str]:
    folder = files("chestx.rendering")
    style = folder.joinpath("document.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True,
        finalize=_make_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["number"] = is_number
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.tests["paragraph"] = lambda block: isinstance(block, Paragraph)
    environment.tests["picture"] = lambda block: isinstance(block, PictureBlock)
    text = folder.joinpath("document.html").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.from_string(text), style, policy
