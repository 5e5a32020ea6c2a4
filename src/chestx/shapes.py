"""Types of arrays as annotations say them: element type and shape, jaxtyping's notation.

Whoever checks them (a type checker, or the tests while they run) has imported jaxtyping. A
program that only runs does without: importing it takes a tenth of the start of a process.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.modules.get("jaxtyping") is not None:
    from jaxtyping import Bool as Bool
    from jaxtyping import Float as Float
    from jaxtyping import Float32 as Float32
    from jaxtyping import Float64 as Float64
    from jaxtyping import Int as Int
    from jaxtyping import Int8 as Int8
    from jaxtyping import Int64 as Int64
    from jaxtyping import Shaped as Shaped
    from jaxtyping import UInt8 as UInt8
    from jaxtyping import UInt16 as UInt16
else:

    class _Array:
        """``UInt8[np.ndarray, "height width"]`` is ``np.ndarray``."""

        def __class_getitem__(cls, item: tuple[type, str]) -> Any:
            return item[0]

    Bool = Float = Float32 = Float64 = Int = Int8 = Int64 = Shaped = UInt8 = UInt16 = _Array
