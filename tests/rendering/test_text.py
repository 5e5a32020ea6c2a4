"""Text in any script."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from chestx.rendering import glyphs, text
from chestx.rendering.bidi import order_runs, resolve_levels
from chestx.rendering.shaping import shape_plainly, split_clusters

SENTENCES = {
    "Latin": "Thorax p.a. Müller Ødegård Tiếng Việt",
    "Greek": "Ακτινογραφία θώρακος",
    "Cyrillic": "Рентген грудной клетки",
    "Arabic": "صورة الأشعة السينية للصدر",
    "Persian": "پرونده‌های می‌خواهم",
    "Hebrew": "צילום חזה",
    "Devanagari": "छाती का एक्स-रे",
    "Bengali": "বুকের এক্স-রে",
    "Tamil": "மார்பு எக்ஸ்ரே",
    "Thai": "เอกซเรย์ทรวงอก",
    "Georgian": "გულმკერდის რენტგენი",
    "Armenian": "Կրծքավանդակի ռենտգեն",
    "Chinese": "胸部X光片、正位",
    "Traditional Chinese": "胸腔X光檢查",
    "Japanese": "胸部レントゲン写真・正面",
    "Korean": "흉부 X선 사진",
}


@pytest.fixture(params=[True, False], ids=["shaped", "plain"])
def shaping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """With the shaping library where there is one, and as on a machine without it."""
    if request.param and not text._can_shape():
        pytest.skip("Pillow has no raqm here")
    if not request.param:
        monkeypatch.setattr(text, "_can_shape", lambda: False)
    for cached in (text._draw_line, text._draw_pieces, text._measure):
        cached.cache_clear()
    yield request.param
    for cached in (text._draw_line, text._draw_pieces, text._measure):
        cached.cache_clear()


def find_visual_order(sentence: str) -> str:
    """The characters from left to right."""
    levels = resolve_levels(sentence)
    return "".join(sentence[index] for index in order_runs(levels))


@pytest.mark.parametrize("script", SENTENCES)
def test_every_character_of_a_script_has_a_glyph(script: str) -> None:
    for character in SENTENCES[script]:
        font = glyphs.choose_font(character, "")
        invisible = character in "\u200c\u200d"
        assert invisible or glyphs.has_glyph(font, character), f"U+{ord(character):04X}"


@pytest.mark.parametrize("script", SENTENCES)
def test_a_sentence_of_any_script_leaves_ink_within_its_width(script: str, shaping: bool) -> None:
    mask = text.draw_line(SENTENCES[script], size=14, width=400)
    assert mask.shape[0] == text.get_line_height(14)
    assert mask.shape[1] <= 400
    assert mask.max() > 150
    assert (mask > 100).any(axis=0).mean() > 0.3


def test_scripts_mix_in_one_line(shaping: bool) -> None:
    mixed = " ".join(SENTENCES.values())
    assert text.draw_line(mixed, size=14, width=4000).shape[1] > 1500


def test_a_character_without_a_glyph_shows_as_a_box() -> None:
    box = text.draw_line("\U0001f600", size=20, width=100)
    other = text.draw_line("\ue000", size=20, width=100)
    assert (box == other).all()
    assert box.max() == 255
    middle = box[box.any(axis=1)][3:-3]
    assert (middle.max(axis=0) > 0).sum() < box.shape[1] / 2  # hollow


@pytest.mark.parametrize(
    ("sentence", "visual"),
    [
        ("abc", "abc"),
        ("שלום", "םולש"),
        ("abc שלום def", "abc םולש def"),
        ("שלום abc", "abc םולש"),
        ("שלום 123", "123 םולש"),
        ("שלום abc 12.5%", "abc 12.5% םולש"),
        ("صورة 12", "12 ةروص"),
        ("שלום (1).png", "png.)1( םולש"),
        ("12:30", "12:30"),
        ("", ""),
    ],
)
def test_characters_stand_in_the_order_of_the_bidirectional_algorithm(
    sentence: str, visual: str
) -> None:
    assert find_visual_order(sentence) == visual


def test_brackets_of_right_to_left_text_are_mirrored() -> None:
    assert shape_plainly("(א", right_to_left=True) == "א)"


def test_arabic_letters_join_without_a_shaping_library() -> None:
    # lam + alef is one shape; beh initial, beh medial, beh final.
    assert shape_plainly("لا", right_to_left=True) == "\ufefb"
    assert shape_plainly("ببب", right_to_left=True) == "\ufe90\ufe92\ufe91"
    assert shape_plainly("دب", right_to_left=True) == "\ufe8f\ufea9"


def test_every_arabic_form_that_is_put_in_has_a_glyph() -> None:
    for character in shape_plainly(SENTENCES["Arabic"], right_to_left=True):
        assert glyphs.has_glyph("NotoSansArabic-Regular.ttf", character)


def test_a_vowel_sign_stands_before_its_consonant_without_a_shaping_library() -> None:
    assert shape_plainly("कि", right_to_left=False) == "\u093f\u0915"


def test_clusters_keep_marks_and_conjuncts_together() -> None:
    assert split_clusters("क्षिa\u0301b") == ["क्षि", "a\u0301", "b"]


def test_shaping_joins_arabic_so_that_a_word_is_narrower_than_its_letters() -> None:
    word = SENTENCES["Arabic"].split()[0]
    alone = sum(text.measure_text(letter, size=30) for letter in word)
    assert text.measure_text(word, size=30) < 0.9 * alone


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        " ",
        "\x00\x01\x1b[31m\x7f",
        "a\nb\r\n\tc\u2028d",
        "evil\u202egnp.exe\u2066\u2069\u200f",
        "\ud800\udfff\udc80",
        "a" + "\u0301\u0489\u20dd" * 5000,
        "\u0301" * 100,
        "x" * 10_000,
        "ש" * 10_000,
        "ب" * 10_000,
        "क्" * 5_000,
        "漢" * 10_000,
        "\u200d" * 10_000,
        "(" * 5000 + "א" + ")" * 5000,
        "\U0010ffff\ufffe\uffff",
        "﷽" * 200,
    ],
    ids=range(17),
)
def test_no_text_overflows_or_crashes(hostile: str, shaping: bool) -> None:
    began = time.perf_counter()
    for width in (1, 7, 300):
        for shorten in ("end", "middle"):
            mask = text.draw_line(hostile, size=14, width=width, shorten=shorten)
            assert mask.shape[0] == text.get_line_height(14)
            assert 1 <= mask.shape[1] <= width
        lines = text.draw_paragraph(hostile, size=14, width=width, max_lines=3)
        assert len(lines) <= 3
        assert all(line.shape[1] <= width for line in lines)
    assert time.perf_counter() - began < 5


def test_controls_surrogates_and_overrides_are_seen_and_line_breaks_are_spaces() -> None:
    assert text.clean_text("a\x00b\udc80c\u202ed\ne\u200ff") == "a\ufffdb\ufffdc\ufffdd ef"


def test_decomposed_names_are_composed() -> None:
    assert text.clean_text("\u1112\u1172\u11bc") == "흉"
    assert text.clean_text("u\u0308") == "ü"


def test_a_long_name_is_shortened_in_the_middle_and_keeps_its_ends() -> None:
    name = "chest_" + "0123456789" * 30 + ".png"
    cut = text._cut(name, lambda part: text.measure_text(part, size=14), 200, "middle")
    assert cut.startswith("chest_")
    assert cut.endswith(".png")
    assert cut.count("\u2026") == 1
    assert 180 < text.measure_text(cut, size=14) <= 200


def test_a_long_line_is_cut_at_its_end() -> None:
    cut = text._cut("word " * 50, lambda part: text.measure_text(part, size=14), 200, "end")
    assert cut.startswith("word word")
    assert cut.endswith("\u2026")
    assert 160 < text.measure_text(cut, size=14) <= 200


@pytest.mark.parametrize("script", SENTENCES)
def test_wrapping_loses_nothing_and_keeps_to_the_width(script: str) -> None:
    sentence = " ".join([SENTENCES[script]] * 5)
    lines = text.wrap_text(sentence, size=14, width=160)
    assert "".join(lines).replace(" ", "") == sentence.replace(" ", "")
    assert len(lines) > 1
    for line in lines:
        assert text.measure_text(line, size=14) <= 161


def test_too_many_lines_end_with_an_ellipsis() -> None:
    lines = text.draw_paragraph("word " * 200, size=14, width=160, max_lines=3)
    assert len(lines) == 3


def test_bold_is_heavier() -> None:
    plain = text.draw_line("positive", size=20, width=300)
    bold = text.draw_line("positive", size=20, width=300, bold=True)
    assert bold.sum() > 1.15 * plain.sum()


def test_masks_are_shared_and_read_only() -> None:
    mask = text.draw_line("positive", size=20, width=300)
    assert mask is text.draw_line("positive", size=20, width=300)
    with pytest.raises(ValueError, match="read-only"):
        mask[0, 0] = 1


def test_threads_draw_the_same_as_one() -> None:
    names = [f"{sentence} {number}" for sentence in SENTENCES.values() for number in range(6)]
    expected = [text.draw_line(name, size=15, width=400).copy() for name in names]
    for cached in (text._draw_line, text._draw_pieces, text._draw_piece, glyphs.open_font):
        cached.cache_clear()
    wrong: list[str] = []

    def draw() -> None:
        for name, mask in zip(names, expected, strict=True):
            if not np.array_equal(text.draw_line(name, size=15, width=400), mask):
                wrong.append(name)

    threads = [threading.Thread(target=draw) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_fonts_are_small_and_carry_their_licence() -> None:
    files = list(glyphs.FOLDER.iterdir())
    assert sum(path.stat().st_size for path in files) < 9_000_000
    assert "SIL OPEN FONT LICENSE" in (glyphs.FOLDER / "OFL.txt").read_text(encoding="utf-8")
    assert {*glyphs.FONTS, glyphs.BOLD, "OFL.txt"} == {path.name for path in files}
