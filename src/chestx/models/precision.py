"""Which numeric variants of a model may run, and where.

A variant runs because somebody asked for it and the model's card keeps it, never because of
the processor at hand: the same command gives the same numbers on the next machine, or says
why it cannot.
"""

from __future__ import annotations

from collections.abc import Collection

from chestx.domain import ChestxError, ModelCard, Precision, UsageError


def parse_precision(text: str) -> Precision:
    """The precision of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return Precision(text)
    except ValueError:
        raise UsageError(f"precision: expected {', '.join(Precision)}, got {text!r:.40}") from None


def parse_variants(text: str) -> tuple[Precision, ...]:
    """The variants in a text like ``bf16,int8``, each once; none in an empty text.

    Raises:
        UsageError: f32, which is no variant, or a name that there is not.
    """
    named = [parse_precision(part.strip().lower()) for part in text.split(",") if part.strip()]
    if Precision.F32 in named:
        raise UsageError(
            "precisions: expected variants (bf16, int8), got f32, which every model has"
        )
    return tuple(dict.fromkeys(named))


def check_kept(card: ModelCard, precision: Precision) -> None:
    """Checks that a card lets a precision run.

    Raises:
        UsageError: it was never tried for this model, or it was tried and refused.
    """
    if precision is Precision.F32:
        return
    variant = card.find_precision(precision)
    where = f"{card.name} {card.version}: precision {precision}"
    if variant is None:
        raise UsageError(
            f"{where} was not tried for this model; chestx model optimize compares it with f32 "
            "on validation images and keeps it only if it gives the same answers"
        )
    if not variant.kept:
        failed = variant.failed
        reason = f"{failed[0]}" if failed else "nothing was compared"
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise UsageError(
            f"{where} was tried on {variant.images} images and refused: {reason}{more}; use f32"
        )


def check_native_bf16(capabilities: Collection[str], processor: str) -> None:
    """Checks that a processor computes in bfloat16 itself.

    Raises:
        ChestxError: it does not. OpenVINO would compute in single precision, and every result
            would say otherwise.
    """
    if "BF16" not in capabilities:
        raise ChestxError(
            f"precision bf16: expected a processor with bfloat16 of its own (AVX512-BF16 or AMX), "
            f"got {processor}; use f32 here"
        )
