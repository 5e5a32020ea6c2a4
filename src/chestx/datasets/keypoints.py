"""Whether two images show the same details in the same arrangement."""

from __future__ import annotations

import cv2
import numpy as np

from chestx.shapes import Float32, UInt8

MAX_KEYPOINTS = 400
RATIO = 0.85
"""A detail's best match must be nearer than this share of its second best (Lowe, 2004)."""

REPROJECTION = 4.0
"""How far a detail may lie from where the common affine map puts it, in preview pixels."""

MAX_STRETCH, MAX_SCALE = 2.5, 3.0
"""How far an affine map may stretch one axis against the other, and enlarge or shrink."""

_MIN_MATCHES = 8

Keypoints = tuple[Float32[np.ndarray, "_ 2"], UInt8[np.ndarray, "_ 128"]]


def describe_details(preview: UInt8[np.ndarray, "height width"]) -> Keypoints:
    """Places and descriptors of a picture's details.

    Args:
        preview: a radiograph of some 256 pixels.

    Returns:
        Coordinates in pixels, and SIFT descriptors with the Hellinger kernel's root taken.

    Source: Lowe, IJCV 2004;60:91; Arandjelovic and Zisserman, CVPR 2012 (the root).
    """
    evened = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(preview))
    detector = cv2.SIFT.create(nfeatures=MAX_KEYPOINTS, contrastThreshold=0.01)
    points, descriptors = detector.detectAndCompute(evened, None)
    if not points:
        return np.empty((0, 2), np.float32), np.empty((0, 128), np.uint8)
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6))
    places = np.array([point.pt for point in points], dtype=np.float32)
    return places, np.asarray(np.round(root * 255), dtype=np.uint8)


def count_common_details(first: Keypoints, second: Keypoints) -> int:
    """How many details lie in both images in one affine arrangement (by RANSAC).

    Different patients' most similar radiographs have 34 at most among the pairs that the
    threshold was chosen on, copies of one image 45 to 400.
    """
    if min(len(first[0]), len(second[0])) < _MIN_MATCHES:
        return 0
    places, others = _match(first[1], second[1])
    if len(places) < _MIN_MATCHES:
        return 0
    cv2.setRNGSeed(0)
    affine, inliers = cv2.estimateAffine2D(
        first[0][places],
        second[0][others],
        method=cv2.RANSAC,
        ransacReprojThreshold=REPROJECTION,
        maxIters=1000,
    )
    if affine is None:
        return 0
    large, small = np.linalg.svd(affine[:, :2], compute_uv=False)
    if large > MAX_SCALE or small < 1 / MAX_SCALE or large > MAX_STRETCH * small:
        return 0
    return int(inliers.sum())


def _match(
    first: UInt8[np.ndarray, "n 128"], second: UInt8[np.ndarray, "m 128"]
) -> tuple[np.ndarray, np.ndarray]:
    """Mutual nearest neighbours that pass the ratio test."""
    one, other = (values.astype(np.float32) / 255 for values in (first, second))
    likeness = one @ other.T
    ranked = np.argpartition(-likeness, 1, axis=1)[:, :2]
    values = np.take_along_axis(likeness, ranked, 1)
    swapped = values[:, 1] > values[:, 0]
    ranked[swapped] = ranked[swapped, ::-1]
    values[swapped] = values[swapped, ::-1]
    distances = np.sqrt(np.maximum(2 - 2 * values, 0))
    nearest = ranked[:, 0]
    mutual = likeness.argmax(axis=0)[nearest] == np.arange(len(one))
    kept = np.flatnonzero(mutual & (distances[:, 0] < RATIO * distances[:, 1]))
    return kept, nearest[kept]
