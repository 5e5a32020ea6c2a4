"""One road from shown pixels to model input, the one that models are trained on."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from chestx.domain import Denoise, InputSpec
from chestx.images import preprocessing
from chestx.images.preprocessing import preprocess, resize_to_fit
from chestx.images.reading import read_radiograph


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (300, 200), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2))


def test_shrinking_averages_areas_and_stretches() -> None:
    picture = np.zeros((64, 128), np.uint8)
    picture[:, 1::2] = 200
    np.testing.assert_array_equal(preprocess(picture, InputSpec(size=32)), 100)


def test_both_ways_are_by_area(pixels: np.ndarray) -> None:
    for size in (64, 512):
        expected = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(preprocess(pixels, InputSpec(size=size)), expected)


def test_a_picture_of_the_right_size_is_unchanged(pixels: np.ndarray) -> None:
    square = pixels[:200]
    np.testing.assert_array_equal(preprocess(square, InputSpec(size=200)), square)


@pytest.mark.parametrize("denoise", [d for d in Denoise if d is not Denoise.NONE])
def test_every_denoiser_brings_a_noisy_picture_nearer_to_the_clean_one(denoise: Denoise) -> None:
    clean = np.tile(np.linspace(60, 180, 96).astype(np.uint8), (96, 1))
    noise = np.random.default_rng(4).normal(0, 5, clean.shape)
    noisy = np.clip(clean + noise, 0, 255).astype(np.uint8)
    filtered = preprocess(noisy, InputSpec(size=96, denoise=denoise))
    before, after = (np.abs(x.astype(int) - clean).mean() for x in (noisy, filtered))
    assert after < 0.75 * before


def test_the_order_is_resize_denoise_clahe(pixels: np.ndarray) -> None:
    spec = InputSpec(size=96, denoise=Denoise.MEDIAN, clahe_clip_limit=2.0, clahe_tiles=4)
    resized = cv2.resize(pixels, (96, 96), interpolation=cv2.INTER_AREA)
    filtered = cv2.medianBlur(resized, preprocessing.MEDIAN_SIDE)
    expected = cv2.createCLAHE(2.0, (4, 4)).apply(filtered)
    np.testing.assert_array_equal(preprocess(pixels, spec), expected)


def test_clahe_raises_contrast(pixels: np.ndarray) -> None:
    faint = (pixels // 8 + 100).astype(np.uint8)
    plain = preprocess(faint, InputSpec(size=128))
    equalised = preprocess(faint, InputSpec(size=128, clahe_clip_limit=4.0))
    assert equalised.std() > 1.5 * plain.std()


def test_read_only_pixels_are_taken_and_left_alone(pixels: np.ndarray) -> None:
    frozen = pixels.copy()
    frozen.flags.writeable = False
    preprocess(frozen, InputSpec(size=64, denoise=Denoise.NON_LOCAL_MEANS, clahe_clip_limit=2.0))
    np.testing.assert_array_equal(frozen, pixels)


def test_previews_keep_the_aspect_ratio(pixels: np.ndarray) -> None:
    assert resize_to_fit(pixels, 150).shape == (150, 100)
    assert resize_to_fit(pixels.T, 150).shape == (100, 150)
    assert resize_to_fit(np.zeros((1000, 3), np.uint8), 100).shape == (100, 1)


@pytest.mark.parametrize("shape", [(3000, 2500), (2048, 1536), (1250, 1001), (2049, 3000)])
def test_a_preview_is_the_picture_by_area_up_to_rounding(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    picture = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), dtype=np.uint8)
    preview = resize_to_fit(picture, 512)
    size = preview.shape[::-1]
    expected = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(int)
    gap = np.abs(preview - expected)
    assert gap.max() <= 2
    assert gap.mean() < 0.5


def test_a_small_picture_is_not_enlarged_for_a_preview(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(resize_to_fit(pixels, 512), pixels)


def test_serving_gives_the_logits_that_training_recorded(cxr: Path) -> None:
    """No skew: file to logits by this road equals the outputs handed over with the model."""
    onnxruntime = pytest.importorskip("onnxruntime")
    handed_over = cxr.parent / "model-0"
    if not (handed_over / "validation.npz").is_file():
        pytest.skip("no model with recorded outputs beside the radiographs")
    with zipfile.ZipFile(handed_over / "validation.npz") as archive:
        assert {"logits.npy", "y_true.npy", "labels.npy"} <= set(archive.namelist())
    recorded = np.load(handed_over / "validation.npz", allow_pickle=False)
    logits, y_true, labels = recorded["logits"], recorded["y_true"], list(recorded["labels"])
    rows = read_validation_rows(cxr)
    assert len(rows) == len(logits)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        handed_over / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    for row in rows[:: len(rows) // 40]:
        pixels = read_radiograph(cxr / row["file"]).pixels
        batch = preprocess(pixels, InputSpec(size=224))[None, None]
        ours = session.run(["logits"], {"pixels": batch})[0][0]
        # Rows are matched by their logits: their paths are stored as pickled text.
        nearest = int(np.abs(logits - ours).max(axis=1).argmin())
        assert np.abs(logits[nearest] - ours).max() < 1e-3
        assert labels[y_true[nearest]] == row["label"]


def read_validation_rows(cxr: Path) -> list[dict[str, str]]:
    with (cxr / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return [
            row
            for row in csv.DictReader(file)
            if row["dev_split"] == "val"
            and row["label"] in ("NORMAL", "PNEUMONIA", "COVID19")
            and row["view"] != "L"
        ]
