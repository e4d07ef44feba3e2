"""The one table of tolerances, and what rounding alone may do to an array.

A tolerance is relative to the largest entry of the array that it is applied to, so that a gradient of 1e-9 is held as
strictly as one of 1e3. It is widened in one case only: where the mathematics cancels. There the reference itself moves
when its inputs are moved by one unit in the last place, and no implementation, however right, can be closer than that.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

# (what is compared, dtype): relative tolerance, and why it is not smaller.
TOLERANCES = {
    ("autograd", "float64"): 1e-12,  # about 4,500 units of rounding; sums of 1,000 terms in another order need 100
    ("autograd", "float32"): 1e-5,  # about 80 units of rounding: the same margin would hide mistakes
    ("autograd", "float16"): 1e-2,  # about 10 units of rounding
    ("complex step", "float64"): 1e-11,  # exact in theory; the loss's own rounding is divided by the gradient's size
    ("central differences", "float64"): 1e-6,  # truncation h^2 and cancellation eps/h meet near 1e-9 of the loss
    ("central differences", "float32"): 1e-6,  # taken in float64; the candidate is held to its own row
    ("optimizer", "float64"): 1e-12,  # of the distance that the parameter has moved
    ("optimizer", "float32"): 1e-5,
}

# How many times the movement of the reference under one unit in the last place counts as rounding.
ROUNDING_MARGIN = 32.0


@functools.cache
def relative_tolerance(oracle: str, dtype: np.dtype[np.generic] | str) -> float:
    """The row of the table for an oracle and a dtype; the coarser of both where an oracle is coarser than the dtype."""
    own = TOLERANCES.get(("autograd", str(dtype)), TOLERANCES[("autograd", "float64")])
    return max(own, TOLERANCES.get((oracle, str(dtype)), own))


def largest(array: npt.ArrayLike) -> float:
    """The largest magnitude in an array: 0.0 where it is empty."""
    values = np.asarray(array)
    return float(np.max(np.abs(values))) if values.size else 0.0


def relative_error(actual: npt.ArrayLike, desired: npt.ArrayLike) -> float:
    """Largest difference over the largest desired entry; 0.0 where both are zero, infinity where only desired is."""
    difference = largest(np.subtract(actual, desired))
    size = largest(desired)
    if difference == 0.0:
        return 0.0
    return difference / size if size else float("inf")
