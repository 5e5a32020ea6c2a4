"""``report.html`` from what lies in an output folder; ``chestx report`` makes it anew."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2

from chestx.batch.options import MAX_REPORT_IMAGES, PICTURES, REPORT, RESULTS, RUN
from chestx.domain import ChestxError, ModelCard, Report, UsageError
from chestx.export.html import ReportImage, ReportMap, list_report_maps, render_report
from chestx.export.table import list_result_columns
from chestx.files import write_bytes, write_text
from chestx.images.preprocessing import resize_to_fit
from chestx.models.folder import load_model_folder, resolve_model
from chestx.models.site import apply_site_profile, identify_with_profile, site_profile_from_json

VIEWS, THUMBNAILS, MAPS = f"{PICTURES}/views", f"{PICTURES}/thumbnails", f"{PICTURES}/maps"

_THUMBNAIL_SIZE = 160
_JPEG_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 88]


def make_picture_folders(output: Path) -> None:
    """Where the pictures of the report go."""
    for name in (VIEWS, THUMBNAILS, MAPS):
        (output / name).mkdir(parents=True, exist_ok=True)


def write_pictures(report: Report, output: Path, *, position: int) -> None:
    """What the page shows of one image: two JPEGs and its small maps.

    Args:
        report: with its preview and maps.
        output: the output folder.
        position: of its row, from 0.
    """
    assert report.preview is not None
    number = f"{position + 1:06d}"
    maps = [[x.key, x.width, x.height, x.values] for x in list_report_maps(report)]
    write_bytes(output / MAPS / f"{number}.json", json.dumps(maps).encode("ascii"))
    thumbnail = resize_to_fit(report.preview, _THUMBNAIL_SIZE)
    for folder, pixels in ((THUMBNAILS, thumbnail), (VIEWS, report.preview)):
        data = cv2.imencode(".jpg", pixels, _JPEG_QUALITY)[1].tobytes()
        write_bytes(output / folder / f"{number}.jpg", data)


def write_report(output: Path, *, card: ModelCard, run: Mapping[str, Any]) -> bool:
    """Writes ``report.html`` from the table and pictures of a run.

    Args:
        output: the output folder.
        card: of the model that spoke.
        run: content of ``run.json``.

    Returns:
        Whether it was written; there is none for more images than a browser can work with.

    Raises:
        UsageError: the folder holds no whole result of this model.
    """
    images = []
    for number, row in enumerate(_read_rows(output, card), start=1):
        if number > MAX_REPORT_IMAGES:
            (output / REPORT).unlink(missing_ok=True)
            return False
        images.append(_gather_image(output, row, number))
    write_text(output / REPORT, render_report(images, run=run, card=card))
    return True


def rebuild_report(output: Path, *, model: str | None = None) -> Path:
    """Makes the report of an output folder anew.

    Args:
        output: where ``chestx predict`` wrote.
        model: folder or name of the model that spoke; None for the shipped one.

    Raises:
        UsageError: the folder holds no finished result, or of another model.
        InvalidModelError: the site profile that was written down with it was changed.
        ChestxError: the report cannot be written.
    """
    run = _read_run(output)
    spoke = run.get("model", {})
    folder = load_model_folder(resolve_model(model))
    if spoke.get("checksum") != folder.identity.checksum:
        raise UsageError(
            f"the results are of {spoke.get('name')} {spoke.get('version')} "
            f"({str(spoke.get('checksum'))[:12]}), got {folder.identity}; "
            "name its folder by --model"
        )
    card = folder.card
    if run.get("site_profile") is not None:
        profile = site_profile_from_json(run["site_profile"], where=str(output / RUN))
        identify_with_profile(folder.identity, profile)
        card = apply_site_profile(card, profile)
    try:
        if not write_report(output, card=card, run=run):
            raise UsageError(
                f"no report for more than {MAX_REPORT_IMAGES} images; run smaller folders"
            )
    except OSError as error:
        raise ChestxError(f"the report cannot be written: {error.strerror}") from error
    return output / REPORT


def _read_run(output: Path) -> dict[str, Any]:
    try:
        run = json.loads((output / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(output)!r} holds no result of chestx predict") from error
    if not isinstance(run, dict) or run.get("status") != "finished":
        raise UsageError(f"{str(output)!r}: the run is not finished; give it --resume first")
    return run


def _read_rows(output: Path, card: ModelCard) -> Iterator[Mapping[str, str]]:
    try:
        with open(output / RESULTS, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != list_result_columns(card):
                raise UsageError(f"{str(output / RESULTS)!r} has other columns than this model")
            yield from reader
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{str(output / RESULTS)!r} cannot be read") from error


def _gather_image(output: Path, row: Mapping[str, str], number: int) -> ReportImage:
    name = f"{number:06d}"
    view, thumbnail = f"{VIEWS}/{name}.jpg", f"{THUMBNAILS}/{name}.jpg"
    maps: list[ReportMap] = []
    # A picture that somebody took away is no reason to show nothing.
    with suppress(OSError, ValueError, TypeError):
        record = json.loads((output / MAPS / f"{name}.json").read_text(encoding="ascii"))
        maps = [ReportMap(*item) for item in record]
    return ReportImage(
        row=row,
        view=view if (output / view).is_file() else "",
        thumbnail=thumbnail if (output / thumbnail).is_file() else "",
        maps=tuple(maps),
    )
