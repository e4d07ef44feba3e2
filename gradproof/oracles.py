"""The two oracles, which share no code: torch's autograd, and a numerical derivative of the candidate's own loss."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

LARGEST_CHECKED = 4000  # entries that a numerical derivative is taken at; beyond, a random choice of them
WIDE = 1e-3  # of an entry, or of 0.1 where it is smaller: the wider of two steps of central differences
COMPLEX_STEP = 1e-30  # no difference is taken, so the step may be as small as floating point allows
__tracebackhide__ = True  # a traceback shows the caller's code and the reference's, not ours


@dataclass(frozen=True)
class Truth:
    """What the reference says: the loss, its named terms, the gradient of each parameter, and that of each term."""

    loss: float
    terms: dict[str, float]
    gradients: Arrays
    term_gradients: dict[str, Arrays]
    oracle: str = "autograd"


def as_tensor(value: Any, requires_grad: bool = False) -> Any:
    """An array as a tensor of its own memory: floating arrays keep their dtype, integers become int64.

    Arrays in a dict, list or tuple likewise; anything that holds no numbers stays as it is.
    """
    if isinstance(value, dict):
        return {key: as_tensor(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(as_tensor(one) for one in value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiucb":
        return value
    if value.dtype.kind in "iu":
        value = value.astype(np.int64)
    tensor = torch.from_numpy(np.array(value, order="C", copy=True))
    return tensor.requires_grad_() if requires_grad else tensor


def reference_terms(reference: Callable[..., Any], tensors: Any, data: tuple[Any, ...]) -> dict[str, torch.Tensor]:
    """Run the reference; its loss as named scalar terms ("loss" where it has only one).

    Raises TypeError or ValueError where it returns something else; what it raises itself comes with a note.
    """
    with blamed_on_reference(tensors, data):
        value = reference(tensors, *data)
    terms = value if isinstance(value, dict) else {"loss": value}
    if not terms:
        raise ValueError("the reference returned an empty dict: it must return the terms of its loss by name")
    for name, term in terms.items():
        which = f"its term {name!r}" if isinstance(value, dict) else "its result"
        if term is None:
            raise TypeError(f"the reference must return a scalar tensor; {which} is None (is a return missing?)")
        if not isinstance(term, torch.Tensor):
            raise TypeError(
                f"the reference must return a scalar tensor, so that torch can differentiate it; {which} is a"
                f" {type(term).__name__} (leave out .item(), float() and NumPy functions)"
            )
        if term.numel() != 1:
            shape = tuple(term.shape)
            raise ValueError(f"the reference must return a scalar tensor; {which} has shape {shape}: sum or average it")
        if not term.dtype.is_floating_point:
            raise TypeError(f"the reference must return a floating-point tensor; {which} is of dtype {term.dtype}")
    return {name: term.reshape(()) if term.dim() else term for name, term in terms.items()}


@contextlib.contextmanager
def blamed_on_reference(*given: Any) -> Iterator[None]:
    """Note on whatever is raised inside that the reference raised it, and what it was called with."""
    try:
        yield
    except Exception as error:
        kinds = "; ".join(_kinds(one) for one in given)
        notes = [*getattr(error, "__notes__", []), f"gradproof: raised by the reference, which was given {kinds}"]
        error.__notes__ = list(dict.fromkeys(notes))
        raise


def _kinds(value: Any) -> str:
    """`W (3, 4) float64, b (4,) float64`: what stands in nested arguments."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_kinds(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_kinds(one) for one in value) or "no data"
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__


def _check_reference(terms: dict[str, torch.Tensor], params: Arrays) -> None:
    """Raise ValueError where the numbers are worth nothing: cut off from the parameters, too coarse, or no numbers."""
    if not any(term.requires_grad for term in terms.values()):
        raise ValueError(
            "the reference's loss does not depend on params: compute it with torch functions from the tensors that it"
            " is given (.detach(), .numpy() and torch.tensor(...) cut the connection)"
        )
    needed = {str(value.dtype) for value in params.values()}
    for name, term in terms.items():
        dtype = str(term.dtype).removeprefix("torch.")
        if len(needed) == 1 and term.requires_grad and np.dtype(next(iter(needed))).itemsize > term.element_size():
            raise ValueError(
                f"the reference computes in {dtype}, params are {next(iter(needed))}: its {name!r} would be too coarse"
                " to compare with (is there a .float(), or a tensor made without dtype=?)"
            )
        if not torch.isfinite(term):
            raise ValueError(f"the reference's {name!r} is {term.item()} here: choose inputs at which it is finite")


def autograd(reference: Callable[..., Any], params: Arrays, data: tuple[Any, ...], strict: bool = False) -> Truth:
    """The reference's loss and gradients, by torch's autograd, in the parameters' own dtype.

    With `strict`, raises ValueError where its numbers are nothing to compare with.
    """
    with torch.inference_mode(False), torch.enable_grad():
        tensors = {name: as_tensor(value, requires_grad=True) for name, value in params.items()}
        terms = reference_terms(reference, dict(tensors), tuple(as_tensor(value) for value in data))
        if strict:
            _check_reference(terms, params)
        by_term = {}
        for position, (name, term) in enumerate(terms.items()):
            with blamed_on_reference(tensors, data):
                by_term[name] = _gradients(term, tensors, retain=position < len(terms) - 1)
    total = {name: sum((one[name] for one in by_term.values()), np.zeros_like(params[name])) for name in params}
    for name, value in total.items():
        if strict and not np.all(np.isfinite(value)):
            raise ValueError(f"torch's gradient of {name} is not finite here: choose inputs at which it is")
    values = {name: float(term.detach()) for name, term in terms.items()}
    return Truth(sum(values.values()), values, total, by_term)


def _gradients(term: torch.Tensor, tensors: dict[str, torch.Tensor], retain: bool) -> Arrays:
    if not term.requires_grad:
        return {name: np.zeros(tuple(tensor.shape), _numpy_dtype(tensor)) for name, tensor in tensors.items()}
    found = torch.autograd.grad(term, list(tensors.values()), retain_graph=retain, allow_unused=True)
    return {
        name: np.zeros(tuple(tensor.shape), _numpy_dtype(tensor)) if grad is None else grad.detach().numpy().copy()
        for (name, tensor), grad in zip(tensors.items(), found, strict=True)
    }


def _numpy_dtype(tensor: torch.Tensor) -> Any:
    return torch.empty(0, dtype=tensor.dtype).numpy().dtype


def layer_output(reference: Callable[..., Any], inputs: Arrays) -> Array:
    """The output of a layer's reference. Raises TypeError where it is no tensor."""
    tensors = {name: as_tensor(one) for name, one in inputs.items()}
    with torch.no_grad(), blamed_on_reference(tensors):
        value = reference(tensors)
    if not isinstance(value, torch.Tensor):
        kind = "None (is a return missing?)" if value is None else f"a {type(value).__name__}"
        raise TypeError(f"the reference must return the layer's output, a tensor; it returned {kind}")
    output = value.numpy().copy()
    if output.dtype.kind != "f":
        raise TypeError(f"the reference's output must be of floating point; it is of dtype {output.dtype}")
    if not np.all(np.isfinite(output)):
        raise ValueError("the reference's output is not finite here: choose inputs at which it is")
    return output


def nudged(arrays: Any, rng: np.random.Generator, labels: bool = True) -> Any:
    """Floating arrays moved by at most one unit in the last place, at random; anything else as it is.

    Numbers move towards zero, so that a probability stays one; whole numbers stay where they may be `labels`.
    """
    if isinstance(arrays, dict):
        return {name: nudged(value, rng, labels=False) for name, value in arrays.items()}
    if isinstance(arrays, tuple):
        return tuple(nudged(value, rng) for value in arrays)
    if not isinstance(arrays, np.ndarray) or arrays.dtype.kind != "f":
        return arrays
    shrink = np.finfo(arrays.dtype).eps * rng.integers(0, 2, arrays.shape)
    moved = np.where(arrays == 0, shrink, arrays * (1 - shrink))
    if labels:
        moved = np.where(arrays == np.round(arrays), arrays, moved)
    return np.asarray(moved, dtype=arrays.dtype)


@dataclass(frozen=True)
class Derivative:
    """A numerical derivative: the gradients (NaN where none was taken), how they were made, and how many entries."""

    gradients: Arrays
    method: str
    checked: int
    entries: int


def numerical_gradients(loss: Callable[[Arrays], Any], params: Arrays, rng: np.random.Generator) -> Derivative:
    """The derivative of `loss(params)`: by the complex step where the code allows it, or by central differences.

    Source: Squire and Trapp (1998), "Using complex variables to estimate derivatives of real functions",
    SIAM Review 40.
    """
    where = _chosen_entries(params, rng)
    checked, entries = sum(len(chosen) for chosen in where.values()), sum(value.size for value in params.values())
    by_complex = _complex_step(loss, params, where)
    if by_complex is not None and _plausible(by_complex, loss, params, where):
        return Derivative(by_complex, "complex step", checked, entries)
    return Derivative(_central_differences(loss, params, where), "central differences", checked, entries)


def _chosen_entries(params: Arrays, rng: np.random.Generator) -> dict[str, Array]:
    share = LARGEST_CHECKED // max(len(params), 1)
    return {
        name: np.arange(value.size) if value.size <= share else np.sort(rng.choice(value.size, share, replace=False))
        for name, value in params.items()
    }


def _complex_step(loss: Callable[[Arrays], Any], params: Arrays, where: dict[str, Array]) -> Arrays | None:
    gradients = {name: np.full(value.shape, np.nan) for name, value in params.items()}
    moved = {name: value.astype(np.complex128) for name, value in params.items()}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            for name, chosen in where.items():
                for index in chosen:
                    moved[name].flat[index] += 1j * COMPLEX_STEP
                    value = np.asarray(loss({key: one.copy() for key, one in moved.items()}))
                    moved[name].flat[index] = params[name].flat[index]
                    if value.dtype.kind != "c":
                        return None
                    gradients[name].flat[index] = value.reshape(()).imag / COMPLEX_STEP
    except Exception:
        return None  # the code is not written for complex numbers
    return gradients


def _plausible(gradients: Arrays, loss: Callable[[Arrays], Any], params: Arrays, where: dict[str, Array]) -> bool:
    """Whether a complex step agrees with differences at a few entries: `abs` and `conj` make it wrong in silence."""
    few = {name: chosen[:: max(1, len(chosen) // 5)] for name, chosen in where.items()}
    checks = _central_differences(loss, params, few)
    for name, chosen in few.items():
        ours, theirs = gradients[name].flat[chosen], checks[name].flat[chosen]
        size = float(np.nanmax(np.abs(theirs), initial=1e-8))
        if np.any(np.abs(ours - theirs) > 1e-4 * size):  # an entry that was not checked is NaN, and passes
            return False
    return True


def _central_differences(loss: Callable[[Arrays], Any], params: Arrays, where: dict[str, Array]) -> Arrays:
    """Five-point central differences in float64, of error h^4, at two step sizes.

    Where the slopes of the two disagree, a kink lies near (a ReLU, a maximum). Where it lies at the very point, they
    agree, and the loss bends by the step instead of its square. Such an entry stays NaN: it has not been checked.
    """
    here = _number(loss({name: value.astype(np.float64) for name, value in params.items()}))
    (wide, wide_bends), (narrow, bends) = (_five_points(loss, here, params, where, WIDE / ratio) for ratio in (1, 4))
    for name, values in narrow.items():
        size = np.nanmax(np.abs(values), initial=0.0)
        smooth = np.abs(values - wide[name]) <= 1e-5 * size + 1e-10 * abs(here)
        jump = np.abs(wide_bends[name] / 4 - bends[name]) / 0.75  # of the slope: what a bend of h^2 leaves is tiny
        narrow[name] = np.where(smooth & (jump <= 1e-5 * size + 1e-9 * abs(here)), values, np.nan)
    return narrow


def _five_points(
    loss: Callable[[Arrays], Any], here: float, params: Arrays, where: dict[str, Array], scale: float
) -> tuple[Arrays, Arrays]:
    """The slope at each chosen entry, and by how much it differs from one step below to one step above."""
    gradients = {name: np.full(value.shape, np.nan) for name, value in params.items()}
    bends = {name: np.full(value.shape, np.nan) for name, value in params.items()}
    moved = {name: value.astype(np.float64) for name, value in params.items()}
    for name, chosen in where.items():
        for index in chosen:
            start = float(moved[name].flat[index])
            h = scale * max(abs(start), 0.1)
            values = []
            for step in (-2, -1, 1, 2):
                moved[name].flat[index] = start + step * h
                values.append(_number(loss({key: one.copy() for key, one in moved.items()})))
            moved[name].flat[index] = start
            below2, below1, above1, above2 = values
            gradients[name].flat[index] = (below2 - 8 * below1 + 8 * above1 - above2) / (12 * h)
            bends[name].flat[index] = (below1 - 2 * here + above1) / h
    return gradients, bends


def _number(loss: Any) -> float:
    return float(np.asarray(loss, dtype=np.float64).reshape(()))
