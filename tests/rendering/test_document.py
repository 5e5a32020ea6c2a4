from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from chestx.domain import CAVEAT
from chestx.rendering.document import (
    Block,
    Document,
    Gallery,
    Paragraph,
    PictureBlock,
    Section,
    Table,
    is_number,
    render_document,
)

HOSTILE = "</td><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>{{ 7 * 7 }}"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"/>'


def make_document(text: str) -> Document:
    picture = PictureBlock(data=SVG, media_type="image/svg+xml", alt=text, caption=text, width=200)
    blocks: list[Block] = [
        Paragraph(text, "bad"),
        Table(
            caption=text,
            columns=(text, "value"),
            rows=[(text, "0.912 (0.8 to 0.9)"), ("x", text)],
            note=text,
            tones=("good", "warning"),
        ),
        picture,
        Gallery([picture, picture]),
    ]
    sections = [Section(text, blocks), Section("second", []), Section("third", [])]
    return Document(
        title=text, summary=[Paragraph(text, "warning")], speaker=text, sections=sections
    )


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_text_from_outside_stays_text_in_every_field() -> None:
    reader = read(render_document(make_document(HOSTILE)))
    assert "script" not in reader.tags
    assert not reader.handlers
    assert reader.tags.count("img") == 3
    assert sum(HOSTILE in text for text in reader.text) >= 10


def test_what_cannot_be_seen_is_written_as_an_escape() -> None:
    page = render_document(make_document("a\u202eb\x00c\u2028d\ud800e\u200bf"))
    assert "a\\u202eb\\x00c\\u2028d\\ud800e\\u200bf" in page
    page.encode("utf-8")


def test_letters_of_any_script_and_line_breaks_stay() -> None:
    page = render_document(make_document("北京\nمستشفى क्\u200dष"))
    assert "北京\nمستشفى क्\u200dष" in page


def test_the_caveat_and_the_speaker_stand_at_both_ends() -> None:
    page = render_document(make_document("someone 1.0"))
    assert page.count(CAVEAT) == 2
    assert page.index(CAVEAT) < page.index("<main>") < page.rindex(CAVEAT)
    assert page.rindex("someone 1.0") > page.index("<footer>")


def test_nothing_is_loaded_and_nothing_runs() -> None:
    page = render_document(make_document("x"))
    assert "default-src &#39;none&#39;" in page
    assert "unsafe" not in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith(("data:", "#")) for source in sources)


def test_rows_have_heads_and_numbers_stand_to_the_right() -> None:
    page = render_document(make_document("plain"))
    assert '<th scope="row">plain</th><td class="number">0.912 (0.8 to 0.9)</td>' in page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", True),
        ("-3", True),
        ("+0.010", True),
        ("< 0.001", True),
        ("n 4", False),
        ("", False),
        ("1,204 / 30", True),
        ("12 %", True),
        ("0.9 (no interval)", True),
        ("18 to 39", False),
        ("0 positive and 3 negative images", False),
    ],
)
def test_a_cell_that_begins_like_a_figure_is_a_number(text: str, expected: bool) -> None:
    assert is_number(text) is expected


def test_a_table_needs_as_many_cells_as_columns() -> None:
    with pytest.raises(ValueError, match="expected 2 cells a row, got 1"):
        Table(caption="x", columns=("a", "b"), rows=[("1",)])


def test_a_table_needs_a_tone_for_every_row_or_none() -> None:
    with pytest.raises(ValueError, match="expected 1 tones, got 2"):
        Table(caption="x", columns=("a",), rows=[("1",)], tones=("good", "bad"))


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
def test_the_page_shows_its_style_and_its_pictures_in_a_browser(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    red = b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>'
    block = PictureBlock(data=red, media_type="image/svg+xml", alt="red")
    document = Document(
        title="t",
        summary=[],
        speaker="s",
        sections=[Section("one", [block, Paragraph("x", "bad")])],
    )
    page.write_text(render_document(document), encoding="utf-8")
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *("--v=0", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Content Security Policy" not in done.stderr
    assert "data:image/svg+xml" in done.stdout
