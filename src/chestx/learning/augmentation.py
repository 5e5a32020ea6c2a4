"""Changes of training images, each drawn anew from a generator; grey ``uint8`` in and out.

What a radiograph may look like elsewhere: turned and shifted a little, another exposure
and processing, another detector, compressed, framed and written on. An augmentation that
makes a picture that no hospital has teaches nothing.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from chestx.learning.config import TrainConfig
from chestx.shapes import UInt8

Grey = UInt8[np.ndarray, "height width"]


def augment(pixels: Grey, config: TrainConfig, *, generator: np.random.Generator) -> Grey:
    """One changed copy of a training image.

    Args:
        pixels: model input.
        config: its ``augment_*`` ranges; style, surroundings and mixup are
            not done here, they take two images.
        generator: of every draw, so that an image's change follows from its seed alone.
    """
    pixels = _move(pixels, config, generator)
    pixels = _change_greys(pixels, config, generator)
    if _happens(config.augment_equalise, generator):
        pixels = _equalise(pixels, generator)
    if config.augment_blur:
        pixels = _blur(pixels, config.augment_blur * generator.random())
    if _happens(config.augment_downsample, generator):
        pixels = _downsample(pixels, generator)
    if config.augment_noise:
        pixels = _add_noise(pixels, config.augment_noise * generator.random(), generator)
    if _happens(config.augment_text, generator):
        pixels = _write(pixels, generator)
    if _happens(config.augment_jpeg, generator):
        pixels = _compress(pixels, generator)
    if config.augment_border:
        pixels = _mask_border(pixels, config.augment_border, generator)
    if _happens(config.augment_erase, generator):
        pixels = _erase(pixels, generator)
    return pixels


def mix_pair(first: Grey, second: Grey, *, share: float) -> Grey:
    """Two images over each other, the first with this share.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    """
    return np.asarray(cv2.addWeighted(first, share, second, 1 - share, 0), dtype=np.uint8)


def take_style(pixels: Grey, other: Grey, *, share: float) -> Grey:
    """The image with the look of another: anatomy is its own, contrast and grain are mixed.

    Of the Fourier transform the phase is kept and the amplitude mixed.

    Args:
        pixels: the image.
        other: of the same size, best of another source.
        share: of the other's amplitudes, 0 to 1.

    Source: Xu et al., A Fourier-based Framework for Domain Generalization, CVPR 2021.
    """
    own = np.fft.rfft2(pixels.astype(np.float32))
    strange = np.abs(np.fft.rfft2(other.astype(np.float32)))
    amplitude = np.abs(own)
    mixed = own * ((1 - share) + share * strange / np.maximum(amplitude, 1e-3))
    restored = np.fft.irfft2(mixed, s=pixels.shape)
    return np.asarray(np.clip(np.rint(restored), 0, 255), dtype=np.uint8)


def take_surroundings(pixels: Grey, other: Grey, *, generator: np.random.Generator) -> Grey:
    """The chest of one image in the surroundings of another, over a soft seam.

    What lies around the lungs (frame, letters, shoulders, collimation) then goes with no
    label and no source. The seam is a superellipse of another size each time; the box that
    the probes call the lungs lies inside it but for its corners.

    Args:
        pixels: the image whose chest is kept.
        other: of the same size.
        generator: of the seam.
    """
    height, width = pixels.shape
    wide, tall = generator.uniform(0.40, 0.48, size=2)
    centre_x, centre_y = generator.uniform(-0.02, 0.02, size=2)
    softness = generator.uniform(0.05, 0.2)
    across = np.abs((np.arange(width, dtype=np.float32) + 0.5) / width - 0.5 - centre_x) / wide
    down = np.abs((np.arange(height, dtype=np.float32) + 0.5) / height - 0.5 - centre_y) / tall
    radius = np.sqrt(np.hypot(down[:, None] ** 2, across[None, :] ** 2))
    own = np.clip((1 + softness - radius) / softness, 0, 1)
    mixed = own * pixels + (1 - own) * other
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def _happens(chance: float, generator: np.random.Generator) -> bool:
    return bool(chance) and generator.random() < chance


def _spread(width: float, generator: np.random.Generator) -> float:
    return float(generator.uniform(-width, width))


def _move(pixels: Grey, config: TrainConfig, generator: np.random.Generator) -> Grey:
    """Rotation, scale, aspect, shift and mirroring in one resampling."""
    angle = math.radians(_spread(config.augment_rotation_degrees, generator))
    scale = math.exp(_spread(math.log1p(config.augment_scale), generator))
    aspect = math.exp(_spread(math.log1p(config.augment_aspect) / 2, generator))
    shift = (_spread(config.augment_shift, generator), _spread(config.augment_shift, generator))
    mirrored = config.augment_flip and generator.random() < 0.5
    if not (angle or shift[0] or shift[1] or mirrored) and scale == aspect == 1:
        return pixels
    height, width = pixels.shape
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.diag([scale * aspect * (-1 if mirrored else 1), scale / aspect])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    offset = centre - matrix @ centre + np.array([shift[0] * width, shift[1] * height])
    moved = cv2.warpAffine(
        pixels,
        np.column_stack([matrix, offset]),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_choose_ground(pixels, generator),
    )
    return np.asarray(moved, dtype=np.uint8)


def _choose_ground(pixels: Grey, generator: np.random.Generator) -> float:
    """What lies beyond the edge: mostly black, sometimes the image's own grey."""
    return 0.0 if generator.random() < 0.7 else float(pixels.mean())


def _change_greys(pixels: Grey, config: TrainConfig, generator: np.random.Generator) -> Grey:
    """Gamma, contrast and brightness in one table."""
    gamma = math.exp(_spread(config.augment_gamma, generator))
    contrast = math.exp(_spread(config.augment_contrast, generator))
    brightness = _spread(config.augment_brightness, generator)
    if gamma == contrast == 1 and not brightness:
        return pixels
    greys = np.linspace(0, 1, 256) ** gamma
    greys = (greys - 0.5) * contrast + 0.5 + brightness
    table = np.asarray(np.clip(greys * 255, 0, 255).round(), dtype=np.uint8)
    return np.asarray(cv2.LUT(pixels, table), dtype=np.uint8)


def _equalise(pixels: Grey, generator: np.random.Generator) -> Grey:
    if generator.random() < 0.3:
        return np.asarray(cv2.equalizeHist(pixels), dtype=np.uint8)
    clip, tiles = float(generator.uniform(1, 4)), int(generator.integers(4, 13))
    return np.asarray(cv2.createCLAHE(clip, (tiles, tiles)).apply(pixels), dtype=np.uint8)


def _blur(pixels: Grey, sigma: float) -> Grey:
    if sigma < 0.2:
        return pixels
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), dtype=np.uint8)


def _downsample(pixels: Grey, generator: np.random.Generator) -> Grey:
    """As an image that once was small; some sets were stored at 224 pixels, others at 1,024."""
    height, width = pixels.shape
    share = generator.uniform(0.4, 0.9)
    small_size = (max(1, round(width * share)), max(1, round(height * share)))
    small = cv2.resize(pixels, small_size, interpolation=cv2.INTER_AREA)
    choice = cv2.INTER_CUBIC if generator.random() < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(small, (width, height), interpolation=choice), dtype=np.uint8)


def _add_noise(pixels: Grey, sigma: float, generator: np.random.Generator) -> Grey:
    noise = generator.standard_normal(pixels.shape, dtype=np.float32) * np.float32(sigma)
    return np.asarray(np.clip(pixels + noise, 0, 255), dtype=np.uint8)


def _write(pixels: Grey, generator: np.random.Generator) -> Grey:
    """Letters and marks as they are burnt in: side markers, times, initials."""
    written = pixels.copy()
    height, width = pixels.shape
    for _ in range(int(generator.integers(1, 4))):
        letters = generator.choice(list("LRABCDEPXO0123456789"), size=generator.integers(1, 6))
        near_edge = generator.random(2) * 0.22
        x, y = (near_edge[i] if generator.random() < 0.5 else 0.95 - near_edge[i] for i in range(2))
        cv2.putText(
            written,
            "".join(letters),
            (int(x * width * 0.9), int((0.05 + y * 0.95) * height)),
            cv2.FONT_HERSHEY_SIMPLEX,
            float(generator.uniform(0.2, 0.6)) * width / 224,
            int(generator.integers(150, 256)),
            int(generator.integers(1, 3)),
            cv2.LINE_AA,
        )
    return written


def _compress(pixels: Grey, generator: np.random.Generator) -> Grey:
    quality = int(generator.integers(25, 90))
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def _mask_border(pixels: Grey, most: float, generator: np.random.Generator) -> Grey:
    """Blackens or flattens a frame; a frame of another width each time tells no source."""
    height, width = pixels.shape
    shares = generator.random(4) * most * (generator.random(4) < 0.5)
    top, bottom = round(shares[0] * height), round(shares[1] * height)
    left, right = round(shares[2] * width), round(shares[3] * width)
    masked = np.full_like(pixels, round(_choose_ground(pixels, generator)))
    inner = (slice(top, height - bottom), slice(left, width - right))
    masked[inner] = pixels[inner]
    return masked


def _erase(pixels: Grey, generator: np.random.Generator) -> Grey:
    """A rectangle of one grey: no single spot may carry the answer.

    Source: Zhong et al., Random Erasing Data Augmentation, AAAI 2020.
    """
    height, width = pixels.shape
    tall, wide = (round(side * generator.uniform(0.1, 0.35)) for side in (height, width))
    top = int(generator.integers(0, height - tall + 1))
    left = int(generator.integers(0, width - wide + 1))
    erased = pixels.copy()
    erased[top : top + tall, left : left + wide] = int(generator.integers(0, 256))
    return erased
