"""The page in a real browser: every key, filter and slider, and texts that try to be code.

Chromium is driven over its debugging pipe (descriptors 3 and 4, JSON ended by a zero
byte), which needs no package, no port and no network. Keys and mouse are real events.
Source: chromedevtools.github.io/devtools-protocol.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import select
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chestx.domain import (
    CAVEAT,
    Activation,
    InputSpec,
    Label,
    LabelRole,
    ModelCard,
    OperatingPoint,
    ScopeSpec,
)
from chestx.export.html import ReportImage, ReportMap, render_report
from chestx.export.table import list_result_columns, neutralise_cell
from chestx.rendering.colours import get_colours, get_opacities

TIMEOUT_S = 30
GREY = 90
FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root, where Chromium's sandbox cannot
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
POINT = OperatingPoint(0.5, 0.4, 0.6)
CARD = ModelCard(
    format_version=1,
    name="demo",
    version="1.2",
    summary="A model for tests.",
    labels=(
        Label(key="NORMAL", display="no finding", role=LabelRole.NO_FINDING),
        Label(key="PNEUMONIA", display="pneumonia", operating_point=POINT),
        Label(key="COVID19", display="COVID-19 features", operating_point=POINT, caveat="Try."),
    ),
    activation=Activation.SOFTMAX,
    temperature=1.0,
    input=InputSpec(size=224),
    heatmap="cam",
    any_finding=POINT,
    scope=ScopeSpec(),
    embedding_size=8,
    intended_use="Teaching.",
    not_looked_for="All else.",
    licence="Research.",
    files={},
    limitations=("Small.",),
)
RUN = {"started": "2026-11-21T17:30:00+00:00", "model": {"checksum": "ab" * 32}}
KEY_CODES = {"Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowRight": 39, "Tab": 9, " ": 32}


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, executable: str, profile: Path) -> None:
        their_input, self._input = os.pipe()
        self._output, their_output = os.pipe()
        # Away from 3 and 4, which the child gets.
        theirs = [
            fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in (their_input, their_output)
        ]
        os.close(their_input)
        os.close(their_output)
        null = [(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_WRONLY, 0) for n in (1, 2)]
        ends = [(os.POSIX_SPAWN_DUP2, end, n) for n, end in enumerate(theirs, start=3)]
        self._process = os.posix_spawn(
            executable,
            [executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            {**os.environ, "HOME": str(profile)},
            file_actions=[*null, *ends],
        )
        for end in theirs:
            os.close(end)
        self._received = b""
        self._calls = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._calls += 1
        message: dict[str, Any] = {"id": self._calls, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._input, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._calls:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._output], [], [], TIMEOUT_S)
            assert ready, "Chromium does not answer"
            data = os.read(self._output, 1 << 20)
            assert data, "Chromium has gone"
            self._received += data
        one, _, self._received = self._received.partition(b"\0")
        message: dict[str, Any] = json.loads(one)
        return message

    def open(self, path: Path, *, width: int = 1400, height: int = 900) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not self.list_events("Page.loadEventFired"):
            self.events.append(self._receive())

    def list_events(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") == method]

    def evaluate(self, code: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, code: str) -> None:
        end = time.monotonic() + TIMEOUT_S
        while not self.evaluate(code):
            assert time.monotonic() < end, f"waited in vain for {code}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        for key in keys:
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            code = KEY_CODES.get(key, ord(key.upper()) if len(key) == 1 and key.isalnum() else 0)
            common = {"key": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
            self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def locate(self, selector: str) -> tuple[float, float]:
        box = self.evaluate(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
            "node.scrollIntoView({block: 'nearest'}); const b = node.getBoundingClientRect();"
            "return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        return float(box[0]), float(box[1])

    def mouse(self, kind: str, x: float, y: float) -> None:
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button="left",
            buttons=0 if kind == "mouseReleased" else 1,
            clickCount=1,
        )

    def click(self, selector: str) -> None:
        x, y = self.locate(selector)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def drag(self, selector: str, *, right: float, down: float) -> None:
        x, y = self.locate(selector)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseMoved", x + right / 2, y + down / 2)
        self.mouse("mouseMoved", x + right, y + down)
        self.mouse("mouseReleased", x + right, y + down)

    def choose(self, selector: str, value: str) -> None:
        """A choice from a drop-down list, which has no window of its own without a screen."""
        self.evaluate(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
            f"node.value = {json.dumps(value)};"
            "node.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def look_at(self, selector: str) -> np.ndarray:
        """The colour (RGB) on the screen in the middle of an element."""
        x, y = self.locate(selector)
        answer = self.call("Page.captureScreenshot", format="png")
        picture = cv2.imdecode(
            np.frombuffer(base64.b64decode(answer["data"]), np.uint8), cv2.IMREAD_COLOR
        )
        assert picture is not None
        return np.asarray(picture[int(y), int(x), ::-1])

    def close(self) -> None:
        with suppress(AssertionError, OSError):
            self._session = ""
            self.call("Browser.close")
        os.close(self._input)
        os.close(self._output)
        os.waitpid(self._process, 0)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    browser = Browser(executable, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


Open = Callable[..., Browser]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Open:
    """Writes a report with its pictures and opens it from the disk."""

    def show(
        images: Sequence[ReportImage], *, card: ModelCard = CARD, without_policy: bool = False
    ) -> Browser:
        grey = np.full((48, 64), GREY, np.uint8)
        for image in images:
            for name in filter(None, (image.view, image.thumbnail)):
                path = tmp_path / name
                path.parent.mkdir(exist_ok=True)
                cv2.imwrite(str(path), grey)
        page = render_report(images, run=RUN, card=card)
        if without_policy:
            page = re.sub(r"<meta http-equiv[^>]+>", "", page)
        path = tmp_path / "report.html"
        path.write_text(page, encoding="utf-8")
        browser.open(path)
        browser.wait_for("document.querySelector('#count').textContent !== ''")
        return browser

    return show


def make_map(key: str, value: int) -> ReportMap:
    return ReportMap(key, 3, 2, base64.b64encode(bytes([value] * 6)).decode())


def make_image(
    number: int, pneumonia: float | None = 0.1, cells: dict[str, str] | None = None
) -> ReportImage:
    row = dict.fromkeys(list_result_columns(CARD), "") | {"path": f"in/{number}.png"}
    if pneumonia is None:
        row |= {"decision": "failed", "error": "broken", "interpretation": "Not assessed: broken."}
        return ReportImage(row | (cells or {}), "", "", ())
    decision = POINT.decide(pneumonia).value
    row |= {
        "decision": decision,
        "probability_PNEUMONIA": f"{pneumonia:.4f}",
        "decision_PNEUMONIA": decision,
        "probability_COVID19": "0.0100",
        "decision_COVID19": "negative",
        "probability_any_finding": f"{pneumonia:.4f}",
        "decision_any_finding": decision,
        "interpretation": f"Answer {number}.",
        "view": "PA",
        "PatientID": f"PAT{number}",
    }
    maps = (make_map("PNEUMONIA", 255), make_map("COVID19", 40))
    return ReportImage(row | (cells or {}), f"views/{number}.png", f"thumbnails/{number}.png", maps)


def make_list() -> list[ReportImage]:
    outside = {
        "decision": "out_of_scope",
        "scope_reasons": "lateral view",
        "scope_details": "A side view.",
        "interpretation": "Not assessed: A side view.",
        "view": "LL",
    }
    return [
        make_image(0, 0.9, {"quality_flags": "age_unknown"}),
        make_image(1, 0.45),
        make_image(2, None),
        make_image(3, 0.9876, outside),
        make_image(4, 0.05, {"AccessionNumber": "ACC77"}),
    ]


def list_shown(browser: Browser) -> list[str]:
    names = browser.evaluate(
        "[...document.querySelectorAll('.row .open')].map((node) => node.textContent)"
    )
    return [str(name) for name in names]


def read_state(browser: Browser) -> dict[str, Any]:
    state: dict[str, Any] = browser.evaluate(
        """(() => {
          const get = (id) => document.getElementById(id);
          const canvas = document.querySelector(".frame canvas");
          return {
            open: get("viewer").open, title: get("viewer-title").innerText.split("\\n").join(" "),
            map: Boolean(canvas) && !canvas.hidden,
            layer: document.querySelector("#layers :checked")?.value,
            level: Number(get("level").value), width: Number(get("width").value),
            focus: document.activeElement.id || document.activeElement.textContent,
          };
        })()"""
    )
    return state


def test_the_worklist_shows_the_most_urgent_image_first(show: Open) -> None:
    page = show(make_list())
    assert list_shown(page) == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    page.wait_for("document.querySelectorAll('.row .thumb').length === 5")
    first = page.text(".row")
    for text in (
        "positive",
        "0.png",
        "Patient PAT0",
        "pneumonia",
        "0.90",
        "Answer 0.",
        "features of pneumonia 0.90",
        "COVID-19 features (see caveat)",
    ):
        assert text in first
    assert "features of" not in page.text(".row:nth-child(5)"), "of a negative the bars say enough"
    failed = page.text(".row:nth-child(3)")
    assert "failed" in failed
    assert "broken" in failed
    assert "no picture" in failed
    assert page.text("#count") == "Showing 5 of 5 images"
    assert (
        "5 images in 5 studies: 1 positive, 1 uncertain, 1 failed, 1 out of scope, 1 negative"
        in (page.text("#totals"))
    )
    assert page.text("header .caveat") == CAVEAT


def test_a_routine_flag_stands_in_the_large_view_and_not_in_each_row(show: Open) -> None:
    page = show([make_image(0, 0.9, {"quality_flags": "age_unknown coloured"})])
    page.wait_for("document.querySelectorAll('.row .thumb').length === 1")
    assert page.text(".row .tags") == "remark: coloured"
    page.press("j", "Enter")
    assert page.text("#answer .tags") == "remark: age unknown, remark: coloured"
    assert "features of pneumonia 0.90" in page.text("#viewer-title")


def test_nothing_is_asked_of_any_network(show: Open) -> None:
    page = show(make_list())
    page.press("j", "Enter", " ")
    page.wait_for("document.querySelector('.frame img')?.naturalWidth === 64")
    addresses = [x["request"]["url"] for x in page.list_events("Network.requestWillBeSent")]
    assert any(address.endswith("views/0.png") for address in addresses)
    assert all(address.startswith(("file:", "data:")) for address in addresses)
    assert page.list_events("Log.entryAdded") == []
    assert page.list_events("Runtime.exceptionThrown") == []


def test_the_policy_stops_what_a_page_could_ask(show: Open) -> None:
    page = show(make_list())
    page.evaluate(
        """window.stopped = []; document.addEventListener("securitypolicyviolation",
          (event) => stopped.push(event.effectiveDirective));
        new Image().src = "http://127.0.0.1:9/x.png";
        fetch("http://127.0.0.1:9/").catch(() => {});
        const node = document.createElement("script"); node.textContent = "window.harmed = 1";
        document.body.append(node);"""
    )
    page.wait_for("stopped.length >= 3")
    assert sorted(page.evaluate("stopped")) == ["connect-src", "img-src", "script-src-elem"]
    assert page.evaluate("window.harmed") is None


def test_the_keys_go_through_the_list_and_the_large_view(show: Open) -> None:
    page = show(make_list())
    page.press("j")
    assert read_state(page)["focus"] == "0.png"
    page.press("j", "ArrowDown", "k")
    assert read_state(page)["focus"] == "1.png"
    page.press("Enter")
    assert read_state(page)["title"].endswith("uncertain features of pneumonia 0.45 2 of 5 1.png")
    page.press("j", "j")
    assert read_state(page)["title"].endswith("out of scope 4 of 5 3.png")
    page.press("k")
    assert read_state(page)["title"].endswith("failed 3 of 5 2.png")
    assert page.text("#stage") == "There is no picture of this file."
    page.press("j", "j", "j", "j")
    assert read_state(page)["title"].endswith("negative 5 of 5 4.png")
    page.press("Escape")
    state = read_state(page)
    assert not state["open"]
    page.wait_for("document.activeElement.textContent === '4.png'")


def test_the_map_is_off_until_it_is_asked_for(show: Open) -> None:
    page = show([make_image(0, 0.9), make_image(1, 0.8)])
    page.press("j", "Enter")
    assert not read_state(page)["map"]
    page.press(" ")
    assert read_state(page)["map"]
    page.press(" ")
    assert not read_state(page)["map"]
    page.press(" ", "j")
    assert not read_state(page)["map"], "each radiograph is first read without its map"
    page.press("Escape")
    page.click("#map-on-open")
    page.press("j", "Enter")
    assert read_state(page)["map"]
    page.press("Escape")
    page.click("#map-on-open")


def test_the_map_has_the_colours_of_the_pictures(show: Open) -> None:
    page = show([make_image(0, 0.9)])
    page.press("j", "Enter", " ")
    assert read_state(page)["layer"] == "0"
    pixel = page.evaluate(
        "[...document.querySelector('.frame canvas').getContext('2d')"
        ".getImageData(9, 9, 1, 1).data]"
    )
    assert np.allclose(pixel[:3], get_colours()[255], atol=2)
    assert pixel[3] == round(get_opacities()[255] * 255)
    page.wait_for("document.querySelector('.frame').clientWidth > 100")
    weight = float(get_opacities()[255])
    expected = GREY * (1 - weight) + get_colours()[255] * weight
    assert np.allclose(page.look_at(".frame"), expected, atol=3)
    assert "strong evidence for pneumonia" in page.text("#map-controls")
    assert "it is not a boundary" in page.text("#map-controls")


def test_the_digits_choose_the_finding_whose_map_is_shown(show: Open) -> None:
    page = show([make_image(0, 0.9)])
    page.press("j", "Enter", "2")
    state = read_state(page)
    assert (state["map"], state["layer"]) == (True, "1")
    assert "strong evidence for COVID-19 features" in page.text("#scale-high")
    page.press("1")
    assert read_state(page)["layer"] == "0"
    page.press("9")
    assert read_state(page)["layer"] == "0"
    page.click("#layers label:nth-child(2)")
    assert read_state(page)["layer"] == "1"


def test_the_opacity_slider_fades_the_map(show: Open) -> None:
    page = show([make_image(0, 0.9)])
    page.press("j", "Enter", " ")
    x, y = page.locate("#opacity")
    page.mouse("mousePressed", x, y)
    page.mouse("mouseReleased", x, y)
    assert page.text("#opacity-value") == "50 %"
    assert page.evaluate("document.querySelector('.frame canvas').style.opacity") == "0.5"
    weight = float(get_opacities()[255]) / 2
    expected = GREY * (1 - weight) + get_colours()[255] * weight
    assert np.allclose(page.look_at(".frame"), expected, atol=3)


def test_window_and_level_follow_the_mouse_and_the_sliders(show: Open) -> None:
    page = show([make_image(0, 0.9)])
    page.press("j", "Enter")
    page.wait_for("document.querySelector('.frame').clientWidth > 100")
    assert np.allclose(page.look_at(".frame"), GREY, atol=1)
    page.drag(".frame", right=-156, down=-80)
    state = read_state(page)
    assert (state["level"], state["width"]) == (88, 100)
    assert np.allclose(page.look_at(".frame"), 256 * ((GREY - 88) / 100 + 0.5), atol=2)
    page.click("#level")
    page.click("#width")
    state = read_state(page)
    assert abs(state["level"] - 128) <= 1
    assert abs(state["width"] - 256) <= 2
    page.drag(".frame", right=-999, down=500)
    assert read_state(page)["width"] == 1
    page.press("r")
    state = read_state(page)
    assert (state["level"], state["width"]) == (128, 256)
    assert "8-bit" in page.text("#view-controls")


def test_the_zoom_goes_between_fit_and_one_to_one(show: Open) -> None:
    page = show([make_image(0, 0.9)])
    page.press("j", "Enter")
    page.wait_for("document.querySelector('.frame').clientWidth > 600")
    page.press("z")
    assert page.evaluate("document.querySelector('.frame').clientWidth") == 64
    page.click("#zoom")
    assert page.evaluate("document.querySelector('.frame').clientWidth") > 600


def test_a_button_keeps_its_space_key_and_gives_the_keys_back_after_a_click(show: Open) -> None:
    page = show(make_list())
    page.press("j", "Enter")
    page.click("#next")
    page.wait_for("document.activeElement.id === 'stage'")
    page.press(" ")
    state = read_state(page)
    assert state["map"]
    assert "2 of 5" in state["title"]
    page.evaluate("document.querySelector('#next').focus()")
    page.press(" ")
    assert "3 of 5" in read_state(page)["title"]


def test_an_image_out_of_scope_shows_reasons_and_no_numbers(show: Open) -> None:
    page = show([make_list()[3]])
    page.press("j", "Enter")
    assert "A side view." in page.text("#answer")
    assert page.evaluate("document.querySelectorAll('#answer .finding').length") == 0
    assert page.text("#no-map") == "No heatmap."
    page.press(" ", "1")
    assert not read_state(page)["map"]
    assert "0.98" not in page.evaluate("document.documentElement.outerHTML")


def test_a_missing_picture_is_said(show: Open, tmp_path: Path) -> None:
    page = show([make_image(0, 0.9)])
    (tmp_path / "views" / "0.png").unlink()
    page.press("j", "Enter")
    page.wait_for("document.querySelector('#stage').innerText.includes('views/0.png is missing')")


@pytest.mark.parametrize(
    ("selector", "value", "expected"),
    [
        ("#by-finding", "0 positive", ["0.png"]),
        ("#by-finding", "0 uncertain", ["1.png"]),
        ("#by-view", "LL", ["3.png"]),
        ("#by-view", "(not stated)", ["2.png"]),
        ("#by-reason", "lateral", ["3.png"]),
        ("#by-flag", "age_unknown", ["0.png"]),
    ],
)
def test_a_list_filters(show: Open, selector: str, value: str, expected: list[str]) -> None:
    page = show(make_list())
    page.choose(selector, value)
    assert list_shown(page) == expected
    assert page.text("#count") == "Showing 1 of 5 images"
    page.click("#clear")
    assert len(list_shown(page)) == 5
    assert page.evaluate(f"document.querySelector('{selector}').value") == ""


def test_decisions_filter_together(show: Open) -> None:
    page = show(make_list())
    page.click(".chip.positive")
    page.click(".chip.negative")
    assert list_shown(page) == ["0.png", "4.png"]
    page.press("j", "Enter", "j")
    assert read_state(page)["title"].endswith("negative 2 of 2 4.png")
    page.press("Escape")
    page.click(".chip.positive")
    assert list_shown(page) == ["4.png"]


def test_the_search_takes_all_its_words(show: Open) -> None:
    page = show(make_list())
    page.press("/", *"acc77 4.png")
    assert list_shown(page) == ["4.png"]
    assert not read_state(page)["open"]
    page.press(*"zzz")
    assert list_shown(page) == []
    assert "No image matches" in page.text("#empty")
    page.press("Escape", "?")
    assert page.evaluate("document.querySelector('#help').open")


def test_the_help_names_every_key(show: Open) -> None:
    page = show(make_list())
    page.press("?")
    text = page.text("#help")
    for key in ("j k", "Enter", "Esc", "space", "1 … 9", "r", "z", "/", "?"):
        assert key in " ".join(text.split())
    page.press("Escape")
    assert not page.evaluate("document.querySelector('#help').open")


def test_images_of_a_study_have_a_heading(show: Open) -> None:
    uid = {"StudyInstanceUID": "1.2.3", "AccessionNumber": "ACC9", "PatientID": "PAT9"}
    page = show([make_image(0, 0.9, uid), make_image(1, None, uid), make_image(2, 0.7)])
    heading = page.text(".study")
    assert "ACC9" in heading
    assert "2 images" in heading
    assert "1 further image of this study was not assessed." in heading
    page.click(".chip.failed")
    assert "1 of 2 images" in page.text(".study")


def test_the_run_and_the_model_have_their_pages(show: Open) -> None:
    page = show(make_list())
    page.click("#tab-worklist")
    page.press("ArrowRight")
    assert page.evaluate("document.querySelectorAll('#run svg').length") == 3
    label = page.evaluate("document.querySelector('#run svg').getAttribute('aria-label')")
    assert "threshold 0.50, no decision in 0.40\u20130.60" in label
    assert "Age in years" in page.text("#run")
    page.press("ArrowRight")
    for text in ("demo 1.2", "ab" * 32, "Teaching.", "All else.", "Small.", "Try."):
        assert text in page.text("#model")


def test_the_theme_follows_the_system_until_it_is_chosen(show: Open) -> None:
    page = show(make_list())
    scheme = "Emulation.setEmulatedMedia"
    read = "getComputedStyle(document.body).backgroundColor"
    page.call(scheme, features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page = show(make_list())
    assert page.evaluate(read) == "rgb(15, 18, 22)"
    page.click("#theme")
    assert page.evaluate(read) == "rgb(241, 243, 246)"
    page = show(make_list())
    assert page.evaluate(read) == "rgb(241, 243, 246)", "the choice is remembered"
    page.evaluate("localStorage.clear()")
    page.call(scheme, features=[])


def test_thousands_of_images_are_there_and_only_those_in_view_are_loaded(show: Open) -> None:
    images = [replace(make_image(i), view="views/0.png") for i in range(1500)]
    images = [replace(x, thumbnail=f"none/{i}.png") for i, x in enumerate(images)]
    page = show([images[0]])  # writes the one picture
    path = Path(page.evaluate("decodeURIComponent(location.pathname)"))
    path.write_text(render_report(images, run=RUN, card=CARD), encoding="utf-8")
    page.open(path)
    page.wait_for("document.querySelectorAll('.row').length === 1500")
    loaded = page.evaluate("document.querySelectorAll('img.thumb').length")
    assert 5 <= loaded <= 60
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for("document.querySelector('.row:last-child img.thumb') !== null")


def test_the_print_has_every_row_and_the_caveat_on_every_page(show: Open, tmp_path: Path) -> None:
    page = show([make_image(i, 0.9) for i in range(60)])
    page.call("Emulation.setEmulatedMedia", media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    filled = page.evaluate("document.querySelectorAll('.row .finding .number').length")
    assert filled == 60 * 3
    assert page.evaluate("getComputedStyle(document.querySelector('.filters')).display") == "none"
    group = "getComputedStyle(document.querySelector('.sheet-head')).display"
    assert page.evaluate(group) == "table-header-group"
    assert page.evaluate("document.querySelector('.sheet-head').innerText").strip() == CAVEAT
    page.call("Emulation.setEmulatedMedia", media="")
    pdf = base64.b64decode(page.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 3


HARM = (
    "<img src=x onerror=window.harmed=1>",
    "<script>window.harmed=1</script>",
    "</script><script>window.harmed=1</script>",
    "<!--<script>window.harmed=1",
    "\"'><svg onload=window.harmed=1>",
    "javascript:window.harmed=1",
    "${window.harmed=1}{{window.harmed=1}}",
    "\u2028window.harmed=1//",
    "\\u003cimg src=x onerror=window.harmed=1\\u003e",
    "\u202egpj.<b>\n\t'\"&lt;",
)
CLEAN = (
    "window.harmed === undefined && !document.querySelector("
    "'img[src=\"x\"], svg[onload], [onerror], b, script:not(#data):nth-of-type(n + 4)')"
)


def spread_harm() -> ReportImage:
    """Every text column of the table holds all that could do harm."""
    text = " ".join(HARM)
    numbers = re.compile("(probability|decision)(_|$)")
    cells = {x: f"{x} {text}" for x in list_result_columns(CARD) if not numbers.match(x)}
    cells["path"] = f"in/{text.replace('/', '|')}"
    return replace(make_image(0, 0.9, cells), view="javascript:window.harmed=1.png")


@pytest.mark.parametrize("without_policy", [False, True], ids=["as it is", "without its policy"])
def test_no_text_of_a_file_becomes_code(show: Open, without_policy: bool) -> None:
    image = spread_harm()
    outside = replace(image, row={**image.row, "decision": "out_of_scope"})
    failed = replace(image, row={**image.row, "decision": "failed"}, view="", thumbnail="")
    page = show([image, outside, failed], without_policy=without_policy)
    page.wait_for("document.querySelectorAll('.row .thumb').length === 3")
    for key in ("j", "Enter", " ", "j", "j", "Escape"):
        page.press(key)
        assert page.evaluate(CLEAN), key
    for tab in ("run", "model", "worklist"):
        page.click(f"#tab-{tab}")
    page.press("/", *"<img")
    assert len(list_shown(page)) == 3
    assert page.evaluate(CLEAN)
    assert page.list_events("Runtime.exceptionThrown") == []
    if not without_policy:
        assert page.list_events("Log.entryAdded") == [], "the policy had nothing to stop"


def test_the_text_of_a_file_is_shown_as_it_is(show: Open) -> None:
    image = spread_harm()
    page = show([image])
    page.press("j", "Enter")
    details = page.evaluate(
        "[...document.querySelectorAll('#details dd')].map((node) => node.textContent)"
    )
    for column in ("path", "PatientID", "AccessionNumber", "view", "sex", "display", "notes"):
        assert neutralise_cell(image.row[column]) in details, column
    answer = page.evaluate("document.querySelector('#answer').textContent")
    assert neutralise_cell(image.row["interpretation"]) in answer
    assert r"\u202egpj.<b>\n\t'" in answer
    name = page.evaluate("document.querySelector('.row .open').textContent")
    assert name == neutralise_cell(image.row["path"]).removeprefix("in/")


@pytest.mark.parametrize("without_policy", [False, True], ids=["as it is", "without its policy"])
def test_no_text_of_a_card_or_a_run_becomes_code(
    show: Open, monkeypatch: pytest.MonkeyPatch, without_policy: bool
) -> None:
    # A card takes no control characters and only short names.
    text = "".join(letter for letter in " ".join(HARM) if letter.isprintable())
    name = "</b><script>window.harmed=1</script>"
    labels = tuple(replace(label, display=name, caveat=text) for label in CARD.labels)
    card = replace(
        CARD,
        labels=labels,
        name=name,
        version=name,
        summary=text,
        intended_use=text,
        not_looked_for=text,
        licence=text,
        limitations=(text,),
    )
    harm = " ".join(HARM)
    monkeypatch.setitem(RUN, "started", harm)
    monkeypatch.setitem(RUN, "model", {"checksum": harm, "precision": harm})
    page = show([make_image(0, 0.9)], card=card, without_policy=without_policy)
    page.press("j", "Enter", " ", "2", "Escape")
    page.click("#tab-run")
    page.click("#tab-model")
    assert page.evaluate(CLEAN)
    shown = page.evaluate("document.querySelector('#model').textContent")
    assert text in shown
    assert name in shown
    assert page.list_events("Runtime.exceptionThrown") == []


def test_a_screen_reader_finds_names_and_roles(show: Open) -> None:
    page = show(make_list())
    page.wait_for("document.querySelectorAll('.row .thumb').length === 5")
    page.press("j", "Enter", " ")
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored") and "role" in node
    }
    roles = {role for role, _ in named}
    assert {"dialog", "slider", "radiogroup", "radio", "checkbox"} <= roles
    interactive = {"button", "slider", "radio", "checkbox", "combobox", "searchbox", "dialog"}
    assert not [role for role, name in named if role in interactive and not name]
    assert any("Evidence map: pneumonia" in name for _, name in named)
    page.press("Escape")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {node["role"]["value"] for node in nodes if not node.get("ignored")}
    assert {"table", "row", "columnheader", "cell", "tab", "tabpanel", "search", "status"} <= roles
    reachable = page.evaluate("document.querySelectorAll('.row .open[tabindex=\"0\"]').length")
    assert reachable == 1
