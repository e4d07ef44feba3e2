"""The checks that need no mathematics: what a candidate must hand back before its numbers can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradproof.oracles import Array, Arrays
from gradproof.report import Finding
from gradproof.tolerances import largest, relative_tolerance


def check_arrays(
    given: Mapping[Any, Any], expected: Arrays, what: str, optional: tuple[str, ...] = ()
) -> tuple[Arrays, list[Finding]]:
    """Hold a dict of arrays against the expected keys, types, shapes, dtypes and finiteness.

    Returns the arrays whose numbers can be compared, in the expected dtype, and a finding for each thing that is amiss.
    """
    usable: Arrays = {}
    findings: list[Finding] = []
    missing = [name for name in expected if name not in given]
    surplus = [key for key in given if key not in expected and key not in optional]
    for name in missing:
        findings.append(Finding("missing-gradient", (name,), _missing(name, what, expected, surplus, given)))
    for key in surplus:
        findings.append(Finding("unexpected-gradient", (str(key),), f"{what} has a key {key!r} that is no parameter"))
    for name, right in expected.items():
        if name in given:
            array, found = check_array(name, given[name], right, what)
            findings += found
            if array is not None:
                usable[name] = array
    return usable, findings


def _missing(name: str, what: str, expected: Arrays, surplus: list[Any], given: Mapping[Any, Any]) -> str:
    message = f"{what} has no key {name!r}"
    fitting = [key for key in surplus if getattr(given[key], "shape", None) == expected[name].shape]
    if len(fitting) == 1:
        message += f"; did you mean {fitting[0]!r} for it? Keys are the parameters' own names"
    return message


def check_array(name: str, value: Any, right: Array, what: str) -> tuple[Array | None, list[Finding]]:
    """One array: itself in the expected dtype where its numbers can be compared, and what is amiss with it."""
    label = f"{what}[{name!r}]"
    array, findings = _as_array(name, value, right, label)
    if array is None:
        return None, findings
    if array.shape != right.shape:
        return None, [*findings, _wrong_shape(name, array, right, label)]
    array, found = _in_dtype(name, array, right.dtype, label)
    findings += found
    if array is None:
        return None, findings
    if not np.all(np.isfinite(array)) and np.all(np.isfinite(right)):
        return None, [*findings, _not_finite(name, array, label)]
    return array, findings


def _as_array(name: str, value: Any, right: Array, label: str) -> tuple[Array | None, list[Finding]]:
    if isinstance(value, np.ndarray):
        return np.asarray(value), []
    if isinstance(value, (np.generic, float, int, complex)) and not isinstance(value, bool) and right.ndim == 0:
        return np.asarray(value, dtype=None if isinstance(value, np.generic) else right.dtype), []
    kind = type(value)
    called = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    message = f"{label} is a {called}, not a NumPy array"
    array = converted(value)
    if array is None or array.shape != right.shape:
        return None, [Finding("wrong-type", (name,), message)]
    if called.startswith("torch."):
        message += "; .detach().numpy() makes it one"
    elif isinstance(value, (list, tuple)):
        message += "; np.array(...) makes it one"
    return array, [Finding("wrong-type", (name,), message)]


def converted(value: Any) -> Array | None:
    """The numbers in something that is no array, where it has any (a list, a tensor of torch)."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except Exception:
        return None
    return array if array.dtype.kind in "fiuc" else None


def rounding_of_dtype(value: Any, right: Array) -> float:
    """What an array in a coarser floating dtype than the expected one has lost by it; 0.0 for any other value."""
    array = converted(value)
    if array is None or array.dtype.kind != "f" or array.dtype.itemsize >= right.dtype.itemsize:
        return 0.0
    return relative_tolerance("autograd", array.dtype) * largest(right)


def _wrong_shape(name: str, array: Array, right: Array, label: str) -> Finding:
    message = f"{label} has shape {array.shape}, the parameter has {right.shape}"
    if array.shape == right.shape[::-1] and _equal(array.T, right):
        message += ": transposed, its numbers are right"
    elif array.size == right.size and _equal(array.reshape(right.shape), right):
        message += ": reshaped, its numbers are right"
    elif array.ndim == right.ndim + 1 and array.shape[1:] == right.shape:
        summed = _equal(array.sum(axis=0), right)
        message += ": summed over axis 0, its numbers are right" if summed else ": an axis too many, in front"
    elif array.size == right.size:
        message += ": as many entries, in another arrangement"
    elif array.ndim < right.ndim:
        message += ": an axis too few (was it summed away, or lost by indexing?)"
    return Finding("wrong-shape", (name,), message)


def _equal(array: Array, right: Array) -> bool:
    with np.errstate(all="ignore"):
        return largest(array - right) <= relative_tolerance("autograd", right.dtype) * largest(right)


def _in_dtype(name: str, array: Array, dtype: Any, label: str) -> tuple[Array | None, list[Finding]]:
    """The array in the expected dtype. A wider float passes: nothing is lost by it."""
    if array.dtype == dtype:
        return array, []
    if array.dtype.kind == "f" and array.dtype.itemsize >= np.dtype(dtype).itemsize:
        return array.astype(dtype), []
    finding = Finding("wrong-dtype", (name,), f"{label} is of dtype {array.dtype}, the parameter of {dtype}")
    try:
        with np.errstate(all="ignore"):
            return (array.real if array.dtype.kind == "c" else array).astype(dtype), [finding]
    except (TypeError, ValueError):
        return None, [finding]


def _not_finite(name: str, array: Array, label: str) -> Finding:
    bad = ~np.isfinite(array)
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f"{name}[{', '.join(map(str, first))}]" if first else name
    message = f"{label} is {array[first]} at {where} ({int(bad.sum())} of {array.size} entries); torch's are all finite"
    return Finding("not-finite", (name,), message)


def check_loss(value: Any, right: float) -> tuple[float | None, list[Finding]]:
    """The candidate's loss as a number; None where it computes none, or where what it returned is no finite number."""
    if value is None:
        return None, []
    array = converted(value)
    if array is None:
        return None, [Finding("wrong-type", ("loss",), f"the loss is a {type(value).__name__}, not a number")]
    if array.size != 1:
        return None, [Finding("wrong-shape", ("loss",), f"the loss has shape {array.shape}; it must be one number")]
    loss = float(np.real(array).reshape(()))
    if not np.isfinite(loss) and np.isfinite(right):
        return None, [Finding("not-finite", ("loss",), f"the loss is {loss}; torch's is {right:.6g}")]
    return loss, []


def check_inputs(modified: tuple[str, ...]) -> list[Finding]:
    """A finding where a call changed its inputs."""
    if not modified:
        return []
    message = f"the call changed {', '.join(modified)} in place: its caller's arrays are different afterwards"
    return [Finding("input-modified", modified, message + " (`a -= b` writes into a; `a = a - b` does not)")]


def check_repeatable(first: Arrays, second: Arrays | None) -> list[Finding]:
    """A finding where a second call with equal inputs came to something else."""
    if second is None:
        return [Finding("not-repeatable", (), "the first call returned, a second one with equal inputs did not")]
    differing = tuple(name for name, value in first.items() if not _same_numbers(value, second.get(name)))
    if not differing:
        return []
    message = f"two calls with equal inputs gave different numbers for {', '.join(differing)}"
    return [Finding("not-repeatable", differing, f"{message}: something is kept between the calls, or drawn at random")]


def _same_numbers(one: Array, other: Array | None) -> bool:
    if other is None or one.shape != other.shape:
        return False
    return largest(one - other) <= relative_tolerance("autograd", one.dtype) * largest(one)
