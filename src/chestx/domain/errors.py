"""What chestx raises on purpose."""

from __future__ import annotations

from chestx.domain.images import ImageHeader


class ChestxError(Exception):
    """Base of every error that chestx raises on purpose; its text is written for the user."""


class UnreadableImageError(ChestxError):
    """A file that cannot become a radiograph.

    Attributes:
        header: what the file said of itself before the fault was met, where it
            got that far. It keeps a broken image with its study.
    """

    def __init__(self, reason: str, *, header: ImageHeader | None = None) -> None:
        super().__init__(reason)
        self.header = header


class InvalidModelError(ChestxError):
    """A model folder that is missing, incomplete, tampered with or too new."""


class UsageError(ChestxError):
    """A request that cannot be carried out as it was put (the CLI exits with 2)."""
