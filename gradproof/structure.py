"""The checks that need no mathematics: what a candidate must hand back before its numbers can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
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
    missing = [name for name in expected if given.get(name) is None]
    surplus = [key for key in given if key not in expected and key not in optional]
    holder = "the new params" if what == "params" else what
    have = "have" if what == "params" else "has"
    for name in missing:
        message = f"{holder} {have} no key {name!r}{_meant(name, expected, surplus, given)}"
        message = f"{_label(name, what)} is None" if name in given else message
        findings.append(Finding("missing-gradient", (name,), message))
    for key in surplus:
        message = f"{holder} {have} a key {key!r}, and there is no such parameter"
        findings.append(Finding("unexpected-gradient", (str(key),), message))
    for name, right in expected.items():
        if name not in missing:
            array, found = check_array(name, given[name], right, what)
            findings += found
            if array is not None:
                usable[name] = array
    return usable, findings


def _meant(name: str, expected: Arrays, surplus: list[Any], given: Mapping[Any, Any]) -> str:
    """A hint at a surplus key that seems to be meant for a missing one: by its name, or by its shape."""
    similar = [key for key in surplus if isinstance(key, str) and _letters(name) in _letters(key)]
    fitting = [key for key in surplus if getattr(given[key], "shape", None) == expected[name].shape]
    meant = similar if len(similar) == 1 else fitting
    return f" (is {meant[0]!r} meant for it? a gradient has its parameter's own name)" if len(meant) == 1 else ""


def _letters(name: str) -> str:
    return name.lower().replace("_", "")


def check_array(name: str, value: Any, right: Array, what: str) -> tuple[Array | None, list[Finding]]:
    """One array: itself in the expected dtype where its numbers can be compared, and what is amiss with it."""
    label = _label(name, what)
    whose = "torch's" if what == "output" else name
    code = {"output": "output", "params": f"params[{name!r}]"}.get(what, label)
    array, findings = _as_array(name, value, right, label, code)
    if array is None:
        return None, findings
    if array.shape != right.shape:
        text = f"{label} has shape {array.shape}, {whose} has"
        return None, [*findings, _wrong_shape(name, array, right, text, code)]
    array, found = _in_dtype(name, array, right.dtype, f"{label} is of dtype {array.dtype}, {whose} of")
    findings = findings or found
    if array is None:
        return None, findings
    if not np.all(np.isfinite(array)) and np.all(np.isfinite(right)):
        return None, [*findings, _not_finite(name, array, label)]
    return array, findings


def _label(name: str, what: str) -> str:
    return {"output": "the output", "params": f"the new {name}"}.get(what, f"{what}[{name!r}]")


def _as_array(name: str, value: Any, right: Array, label: str, code: str) -> tuple[Array | None, list[Finding]]:
    if isinstance(value, np.ndarray) and not np.ma.is_masked(value):
        return np.asarray(value), []
    if isinstance(value, np.number):  # what NumPy makes of an array whose axes were all summed away
        return np.asarray(value), []
    if isinstance(value, (float, int)) and not isinstance(value, bool) and right.ndim == 0:
        return np.asarray(value, dtype=right.dtype), []
    message = f"{label} is {described(value)}, not a NumPy array"
    if isinstance(value, np.ma.MaskedArray):
        masked = int(np.ma.getmaskarray(value).sum())
        message = f"{label} is a masked array without numbers at {masked} of {value.size} entries"
        return None, [Finding("wrong-type", (name,), message)]
    array = converted(value)
    if array is None or array.shape != right.shape:
        return None, [Finding("wrong-type", (name,), message)]
    mend = f"{code} = {code}.detach().numpy()" if _is_tensor(value) else f"{code} = np.asarray({code})"
    return array, [Finding("wrong-type", (name,), message, mend=mend)]


def described(value: Any) -> str:
    """What something is, for a message: `a list of 3`, `None (is a return statement missing?)`."""
    if value is None:
        return "None (is a return statement missing?)"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.split('.')[0]}.{kind.__name__}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"a {name} of {len(value)}" if isinstance(value, (list, tuple, dict)) else f"a {name}"


def _is_tensor(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def converted(value: Any) -> Array | None:
    """The numbers in something that is no array, where it has any (a list, a tensor of torch)."""
    try:
        array = np.asarray(value.detach().cpu() if _is_tensor(value) else value)
    except Exception:
        return None
    return array if array.dtype.kind in "fiuc" else None


def rounding_of_dtype(value: Any, right: Array) -> float:
    """What an array in a coarser floating dtype than the expected one has lost by it; 0.0 for any other value."""
    array = converted(value)
    if array is None or array.dtype.kind != "f" or array.dtype.itemsize >= right.dtype.itemsize:
        return 0.0
    return relative_tolerance("autograd", array.dtype) * largest(right)


def _wrong_shape(name: str, array: Array, right: Array, text: str, code: str) -> Finding:
    message = f"{text} {right.shape}"
    mended, how = _mended(array, right)
    if mended:
        message += f": {mended}, its numbers are right"
    elif array.size == right.size:
        message += ": as many entries, in another arrangement"
    elif array.ndim > right.ndim:
        message += f": {array.ndim - right.ndim} {'axes' if array.ndim - right.ndim > 1 else 'axis'} too many"
    elif array.ndim < right.ndim:
        few = right.ndim - array.ndim
        lost = "was it summed away, or lost by indexing?" if few == 1 else "were they summed away, or lost by indexing?"
        message += f": {'an axis' if few == 1 else f'{few} axes'} too few ({lost})"
    return Finding("wrong-shape", (name,), message, mend=f"{code} = {code}{how}" if mended else "")


def _mended(array: Array, right: Array) -> tuple[str, str]:
    """What makes the right array of one of another shape, in words and as code; empty where nothing does."""
    if array.shape == right.shape[::-1] and _equal(array.T, right):
        return "transposed", ".T"
    if array.size == right.size and _equal(array.reshape(right.shape), right):
        return "reshaped", f".reshape({right.shape})"
    if array.ndim > right.ndim and array.dtype.kind in "fiuc":
        for axes in combinations(range(array.ndim), array.ndim - right.ndim):
            summed = array.sum(axis=axes)
            if summed.shape == right.shape and _equal(summed, right):
                words = f"summed over {'axis' if len(axes) == 1 else 'axes'} {' and '.join(map(str, axes))}"
                return words, f".sum(axis={axes[0] if len(axes) == 1 else axes})"
    if array.ndim == right.ndim and all(one >= other for one, other in zip(array.shape, right.shape, strict=True)):
        border = [(one - other) // 2 for one, other in zip(array.shape, right.shape, strict=True)]
        inner = array[tuple(slice(b, b + size) for b, size in zip(border, right.shape, strict=True))]
        if _equal(inner, right):
            cut = [f"{b} at both ends of axis {axis}" for axis, b in enumerate(border) if b]
            inside = ", ".join(f"{b}:{b + size}" if b else ":" for b, size in zip(border, right.shape, strict=True))
            return (f"without {' and '.join(cut)}", f"[{inside}]") if cut else ("", "")
    return "", ""


def _equal(array: Array, right: Array) -> bool:
    if array.dtype.kind not in "fiuc" or not largest(right):
        return False
    return largest(array - right) <= relative_tolerance("autograd", right.dtype) * largest(right)


def _in_dtype(name: str, array: Array, dtype: Any, text: str) -> tuple[Array | None, list[Finding]]:
    """The array in the expected dtype. A wider float passes: nothing is lost by it."""
    if array.dtype.kind == "f" and array.dtype.itemsize >= np.dtype(dtype).itemsize:
        return array.astype(dtype), []
    message = f"{text} {dtype}"
    if array.dtype.kind in "iub":
        message += ": whatever stood behind the decimal point is lost"
    if array.dtype.kind == "O":
        message += ": it holds Python objects in place of numbers"
    finding = Finding("wrong-dtype", (name,), message)
    if array.dtype.kind not in "fc":
        return None, [finding]
    return array.real.astype(dtype), [finding]


def _not_finite(name: str, array: Array, label: str) -> Finding:
    bad = ~np.isfinite(array)
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f"{name}[{', '.join(map(str, first))}]" if first else name
    count = f" ({int(bad.sum())} of {array.size} entries)" if first else ""
    message = f"{label} is {array[first]}{f' at {where}' if first else ''}{count}; the right one is finite everywhere"
    return Finding("not-finite", (name,), message)


def check_loss(value: Any, right: float | None = None) -> tuple[float | None, list[Finding]]:
    """The candidate's loss as a number; None where it computes none, or where what it returned is no finite number."""
    if value is None:
        return None, []
    array = converted(value)
    if array is None or array.dtype.kind == "c" or isinstance(value, (list, tuple)):
        return None, [Finding("wrong-type", ("loss",), f"the loss is {described(value)}, not a number")]
    if array.size != 1:
        return None, [Finding("wrong-shape", ("loss",), f"the loss has shape {array.shape}; it must be one number")]
    findings = []
    if _is_tensor(value):
        tensor = "the loss is a tensor of torch, not a number"
        findings.append(Finding("wrong-type", ("loss",), tensor, mend="loss = loss.item()"))
    loss = float(array.reshape(()))
    if not np.isfinite(loss):
        beside = "" if right is None else f"; torch's is {right:.6g}"
        return None, [*findings, Finding("not-finite", ("loss",), f"the loss is {loss}{beside}")]
    return loss, findings


def check_inputs(modified: tuple[str, ...]) -> list[Finding]:
    """A finding where a call changed its inputs."""
    if not modified:
        return []
    message = f"the call changed {', '.join(modified)}: its caller finds other numbers there afterwards"
    name = modified[0]
    mend = f"{name} = {name} - ... makes a new array, where {name} -= ... writes into the one that came in"
    return [Finding("input-modified", modified, message, mend=mend)]


def check_kept(modified: tuple[str, ...]) -> list[Finding]:
    """A finding where a step kept an input without a copy, and a later step wrote into it."""
    if not modified:
        return []
    message = f"{', '.join(modified)} of the first step changed at a later one: it was kept without a copy, and is"
    message += " written into; with an array that the caller uses again, the next steps go wrong"
    return [Finding("input-modified", modified, message, mend="keep a copy: state[...] = grads[...].copy()")]


def check_repeatable(first: Arrays, second: Arrays | str) -> list[Finding]:
    """A finding where a second call with equal inputs came to something else, or (as a text) to nothing."""
    if isinstance(second, str):
        message = f"a second call with equal inputs gave no answer as the first one did: {second}"
        return [Finding("not-repeatable", (), message)]
    differing = tuple(name for name, value in first.items() if not _same_numbers(value, second.get(name)))
    if not differing:
        return []
    message = f"two calls with equal inputs gave different numbers for {', '.join(differing)}"
    return [Finding("not-repeatable", differing, f"{message}: something is kept between the calls, or drawn at random")]


def _same_numbers(one: Array, other: Array | None) -> bool:
    if other is None or one.shape != other.shape:
        return False
    return largest(one - other) <= relative_tolerance("autograd", one.dtype) * largest(one)
