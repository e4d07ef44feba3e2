"""The candidate's own forward pass as a torch function: its NumPy code, run on torch tensors.

A candidate may compute the same loss as the reference by another route (products of probabilities where the reference
adds logarithms). A rule that is broken on that route is no rule of the reference. So the code is run once more, handed
arrays that NumPy's functions are dispatched on (NEP 13 and NEP 18) and that hand everything on to torch. What cannot
be followed raises NotFollowed; nobody is told, and the reference's own operations remain to be searched.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import operator
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch

from gradproof import candidate as candidates

on_torch: Any = importlib.import_module("torch._numpy")  # NumPy's functions on tensors, as torch.compile uses them
_patch: Any = mock.patch
Tensor = torch.Tensor
_NUMBERS = "fiub"  # kinds of dtypes
MOST_RESULTS = 6000  # of one call; each takes some 50 us, and the time of a search is short
MOST_NUMBERS = 30_000_000  # in all of them together (240 MB)


class NotFollowed(Exception):
    """The code does something with an array that cannot be followed: it asks for a plain one, for example."""


class Followed(np.lib.mixins.NDArrayOperatorsMixin):
    """A tensor in the clothes of an array."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        if self.tensor.dtype.is_floating_point or torch._C._functorch.is_functorch_wrapped_tensor(self.tensor):
            raise NotFollowed("a plain array is asked for")
        return self.tensor.numpy()  # of positions and truth values, through which no gradient flows

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if method == "at":
            return _add_at(ufunc.__name__, *inputs)
        if kwargs.pop("where", True) is not True:
            raise NotFollowed("where=")
        function = _function_of(ufunc.__name__, method)
        return _into(out, _dressed(function(*_bare(inputs), **_bare(kwargs))))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = func.__name__
        space = on_torch.linalg if func.__module__ == "numpy.linalg" else on_torch
        function = _FUNCTIONS.get(name) or getattr(space, name, None)
        if function is None:
            raise NotFollowed(name)
        out = kwargs.pop("out", None)
        return _into(None if out is None else (out,), _dressed(function(*_bare(args), **_bare(kwargs))))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(on_torch.ndarray(self.tensor), name)
        if callable(found):
            return lambda *args, **kwargs: _dressed(found(*_bare(args), **_bare(kwargs)))
        return _dressed(found)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return np.ndarray  # to whoever asks with isinstance

    def __copy__(self) -> Followed:
        return Followed(self.tensor.clone())

    def __deepcopy__(self, memo: Any) -> Followed:
        return Followed(self.tensor.clone())

    @property
    def flags(self) -> Any:
        return np.empty(self.shape).flags  # it may be written into

    @property
    def dtype(self) -> Any:
        return np.dtype(str(self.tensor.dtype).removeprefix("torch."))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def __getitem__(self, index: Any) -> Any:
        return _dressed(on_torch.ndarray(self.tensor)[_bare(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        _count(self.tensor)  # what is written into is kept as it was
        on_torch.ndarray(self.tensor)[_bare(index)] = _bare(value)

    def __len__(self) -> int:
        return len(self.tensor)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.tensor)

    def __int__(self) -> int:
        return int(self.tensor)

    def __index__(self) -> int:
        return int(self.tensor)

    def __float__(self) -> float:
        return _remembered(self)

    def item(self) -> float:
        return _remembered(self)

    def __format__(self, spec: str) -> str:
        return format(float(self.tensor), spec) if self.tensor.numel() == 1 else ""


@dataclass
class _Call:
    """One call of the code: how many results it has had, of what size, and what its plain numbers were made of."""

    results: int = 0
    entries: int = 0
    numbers: dict[float, Followed] = field(default_factory=dict)


_calls: dict[int, _Call] = {}  # by thread


def _remembered(one: Followed) -> float:
    """A plain number, of which it is known again what it was: many a loss ends as `float(loss)`."""
    number = float(one.tensor)
    _calls.get(threading.get_ident(), _Call()).numbers[number] = one
    return number


def _bare(value: Any) -> Any:
    """What torch's side takes: its own arrays, dtypes and numbers."""
    if isinstance(value, Followed):
        return on_torch.ndarray(value.tensor)
    if isinstance(value, (list, tuple)):
        return type(value)(_bare(one) for one in value)
    if isinstance(value, Mapping):
        return {key: _bare(one) for key, one in value.items()}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return on_torch.dtype(np.dtype(value).name)
    if isinstance(value, np.ndarray) and value.dtype.kind in _NUMBERS:
        return on_torch.ndarray(torch.from_numpy(np.array(value)))
    return value.item() if isinstance(value, np.generic) else value


def _count(result: Tensor) -> None:
    """Note one more result of a call. Raises NotFollowed where there was too much already."""
    call = _calls.get(threading.get_ident(), _Call())  # the code may have kept an array from an earlier one
    call.results += 1
    call.entries += result.numel()
    if call.results > MOST_RESULTS or call.entries > MOST_NUMBERS:
        raise NotFollowed("it does too much")


def _dressed(value: Any) -> Any:
    """What torch's side returns, as the code takes it. Raises NotFollowed where there was too much of it already."""
    if isinstance(value, on_torch.ndarray):
        value = value.tensor
    if isinstance(value, Tensor):
        _count(value)
        return Followed(value)
    if isinstance(value, on_torch.DType):
        return np.dtype(value.name)
    return type(value)(_dressed(one) for one in value) if isinstance(value, (list, tuple)) else value


def _into(out: Any, made: Any) -> Any:
    """A result, in the array that it is to be written into where one was given."""
    if out is None:
        return made
    if len(out) != 1 or not isinstance(out[0], Followed):
        raise NotFollowed("out=")
    out[0].tensor.copy_(made.tensor)
    return out[0]


def _function_of(ufunc: str, method: str) -> Callable[..., Any]:
    if method == "__call__":
        function = _UFUNCS.get(ufunc) or getattr(on_torch, ufunc, None)
    else:
        function = _METHODS.get((ufunc, method))
    if function is None:
        raise NotFollowed(f"{ufunc} {method}")
    return function


def _tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors as one of torch's arrays."""

    def of_arrays(*args: Any, **kwargs: Any) -> Any:
        return function(*(one.tensor if isinstance(one, on_torch.ndarray) else one for one in args), **kwargs)

    return of_arrays


def _arithmetic(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, for which truth values count as whole numbers."""

    def of_numbers(*args: Any) -> Any:
        return function(*(_counting(one) if isinstance(one, Tensor) else one for one in args))

    return _tensors(of_numbers)


def _counting(tensor: Tensor) -> Tensor:
    return tensor.to(torch.int64) if tensor.dtype == torch.bool else tensor


def _maximum(a: Any, b: Any) -> Any:
    """torch's own functions where one side is a number, so that `np.maximum(0, z)` is the ReLU that it is."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        array, number = (a, b) if isinstance(a, Tensor) else (b, a)
        return torch.relu(array) if number == 0 else array.clamp_min(number)
    return torch.maximum(a, b)


def _minimum(a: Any, b: Any) -> Any:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        array, number = (a, b) if isinstance(a, Tensor) else (b, a)
        return array.clamp_max(number)
    return torch.minimum(a, b)


def _where(condition: Any, *choices: Any) -> Any:
    like = next((one for one in choices if isinstance(one, Tensor) and one.dtype.is_floating_point), None)
    dtype = torch.float64 if like is None else like.dtype
    numbers = (one if isinstance(one, Tensor) else torch.tensor(one, dtype=dtype) for one in choices)
    return torch.where(torch.as_tensor(condition), *numbers)


def _counted(x: Tensor, axis: int | None = None) -> Tensor:
    return _counting(x.reshape(-1) if axis is None else x).cumsum(axis or 0)


def _outer(function: Callable[..., Any]) -> Callable[..., Any]:
    def of_each_two(a: Tensor, b: Tensor) -> Tensor:
        return function(a.reshape(a.shape + (1,) * b.dim()), b)  # type: ignore[no-any-return]

    return of_each_two


def _add_at(ufunc: str, target: Any, index: Any, *values: Any) -> None:
    if ufunc not in ("add", "subtract") or not isinstance(target, Followed):
        raise NotFollowed(f"{ufunc}.at")
    positions = index if isinstance(index, tuple) else (index,)
    given = [one.tensor if isinstance(one, Followed) else torch.as_tensor(one) for one in (*positions, *values)]
    added = given[-1].to(target.tensor.dtype)
    target.tensor.index_put_(tuple(given[:-1]), added if ufunc == "add" else -added, accumulate=True)


def _windows(x: Tensor, window_shape: Any, axis: Any = None) -> Tensor:
    sizes = window_shape if isinstance(window_shape, (tuple, list)) else (window_shape,)
    axes = range(x.dim()) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    dims = x.dim()
    for size, one in zip(sizes, axes, strict=True):
        x = x.unfold(one % dims, int(size), 1)
    return x


def _inserted(x: Tensor, index: Any, value: Any, axis: int) -> Tensor:
    """One row, column ... of a value, as the ones of a bias are put before the data."""
    before, after = x.narrow(axis, 0, index), x.narrow(axis, index, x.shape[axis] - index)
    shape = [1 if i == axis % x.dim() else length for i, length in enumerate(x.shape)]
    new = torch.as_tensor(value, dtype=x.dtype)
    return torch.cat([before, new.reshape(shape) if new.numel() > 1 else new.expand(shape), after], axis)


def _side_by_side(usual: Callable[..., Any]) -> Callable[..., Any]:
    """`np.c_[a, b]` and `np.r_[a, b]`."""

    def get(self: Any, key: Any) -> Any:
        if not _holds_followed(key):
            return usual(self, key)
        parts = [one if isinstance(one, Followed) else Followed(torch.as_tensor(one)) for one in key]
        return np.column_stack(parts) if self is np.c_ else np.concatenate([np.atleast_1d(one) for one in parts])

    return get


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "true_divide": operator.truediv,
    "power": operator.pow,
    "matmul": operator.matmul,
    "maximum": _maximum,
    "minimum": _minimum,
}
_UFUNCS: dict[str, Callable[..., Any]] = {
    **{name: _arithmetic(function) for name, function in _ARITHMETIC.items()},
    "expit": _tensors(torch.sigmoid),
    "log_expit": _tensors(torch.nn.functional.logsigmoid),
    "erf": _tensors(torch.erf),
    "gammaln": _tensors(torch.lgamma),
    "psi": _tensors(torch.digamma),
    "xlogy": _tensors(torch.xlogy),
}
_METHODS: dict[tuple[str, str], Callable[..., Any]] = {
    ("add", "reduce"): lambda a, axis=0, keepdims=False: on_torch.sum(a, axis=axis, keepdims=keepdims),
    ("multiply", "reduce"): lambda a, axis=0, keepdims=False: on_torch.prod(a, axis=axis, keepdims=keepdims),
    ("maximum", "reduce"): lambda a, axis=0, keepdims=False: on_torch.max(a, axis=axis, keepdims=keepdims),
    ("logaddexp", "reduce"): _tensors(lambda a, axis=0, keepdims=False: torch.logsumexp(a, axis, keepdims)),
    ("add", "accumulate"): lambda a, axis=0: on_torch.cumsum(a, axis),
    ("multiply", "accumulate"): lambda a, axis=0: on_torch.cumprod(a, axis),
    **{(name, "outer"): _arithmetic(_outer(_ARITHMETIC[name])) for name in ("add", "subtract", "multiply", "divide")},
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": _tensors(_where),
    "cumsum": _tensors(_counted),
    "insert": _tensors(_inserted),
    "outer": _tensors(lambda a, b: a.reshape(-1, 1) * torch.as_tensor(b).reshape(-1)),
    "sliding_window_view": _tensors(_windows),
}
_MATH: dict[str, Callable[..., Any]] = {
    "lgamma": torch.lgamma,
    "fabs": torch.abs,
    **{name: getattr(torch, name) for name in "erf erfc exp expm1 log log1p log2 log10 sqrt sin cos tan tanh".split()},
}
_MAKING = ("zeros", "ones", "empty", "full", "zeros_like", "ones_like", "empty_like", "full_like", "eye")
_TAKING = ("array", "asarray", "asanyarray", "ascontiguousarray", "sum", "mean")  # lists of arrays as well


@contextlib.contextmanager
def _followed_from_the_start() -> Iterator[None]:
    """Within it, in this thread, new arrays of floating-point numbers can be followed when they are written into.

    NumPy does not dispatch the functions that make them, nor does `math` dispatch its own.
    """
    thread = threading.get_ident()
    changed = {name: _making(thread, getattr(np, name)) for name in _MAKING}
    changed |= {name: _taking(thread, getattr(np, name)) for name in _TAKING}
    of_numbers = {name: _of_one(getattr(math, name), function) for name, function in _MATH.items()}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_patch.multiple(np, **changed))
        stack.enter_context(_patch.multiple(math, **of_numbers))
        indexed: Any = type(np.c_).__mro__[1]
        stack.enter_context(_patch.object(indexed, "__getitem__", _side_by_side(indexed.__getitem__)))
        stack.enter_context(_patch.object(np.vectorize, "__call__", _vectorized(np.vectorize.__call__)))
        yield


def _of_one(usual: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(usual)
    def of_one(*args: Any) -> Any:
        followed = len(args) == 1 and isinstance(args[0], Followed)
        return Followed(function(args[0].tensor)) if followed else usual(*args)

    return of_one


def _vectorized(usual: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = getattr(self.pyfunc, "__name__", "")
        if len(args) != 1 or not isinstance(args[0], Followed):
            return usual(self, *args, **kwargs)
        if name in _MATH:
            return Followed(_MATH[name](args[0].tensor))
        return np.array([self.pyfunc(one) for one in args[0].ravel()]).reshape(args[0].shape)

    return call


def _making(thread: int, usual: Callable[..., Any]) -> Callable[..., Any]:
    def make(*args: Any, **kwargs: Any) -> Any:
        made = usual(*args, **kwargs)
        here = threading.get_ident() == thread and type(made) is np.ndarray
        return Followed(torch.from_numpy(made.copy())) if here and made.dtype.kind == "f" else made

    return make


def _taking(thread: int, usual: Callable[..., Any]) -> Callable[..., Any]:
    def take(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread or not args or not _holds_followed(args[0]):
            return usual(*args, **kwargs)
        name, given = usual.__name__, args[0]
        whole = given if isinstance(given, Followed) else Followed(_stacked(given))
        if name in ("sum", "mean"):
            return usual(whole, *args[1:], **kwargs)
        dtype = kwargs.get("dtype", args[1] if len(args) > 1 else None)
        if dtype is not None and np.dtype(dtype) != whole.dtype:
            return whole.astype(dtype)
        return Followed(whole.tensor.clone()) if name == "array" else whole

    return take


def _holds_followed(value: Any) -> bool:
    return isinstance(value, Followed) or (isinstance(value, (list, tuple)) and any(map(_holds_followed, value)))


def _stacked(value: Any) -> Tensor:
    if isinstance(value, Followed):
        return value.tensor
    if isinstance(value, (list, tuple)):
        return torch.stack([_stacked(one) for one in value])
    return torch.as_tensor(value, dtype=torch.float64)


def as_reference(loss: Callable[..., Any]) -> Callable[..., Any]:
    """`loss(params, *data)` in NumPy as a function of tensors. It raises NotFollowed where it cannot be that."""

    def reference(params: Mapping[str, Tensor], *data: Any) -> Tensor:
        given = {name: Followed(tensor) for name, tensor in params.items()}
        call = _calls[threading.get_ident()] = _Call()
        try:
            with candidates.guarded(quiet=True), _followed_from_the_start():
                found = loss(given, *(_handed(one) for one in data))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an exit, a skipped test, the time limit
            raise NotFollowed(f"it raised {type(error).__name__}") from error
        finally:
            del _calls[threading.get_ident()]
        followed = call.numbers.get(found) if isinstance(found, float) else found
        if not isinstance(followed, Followed) or followed.tensor.numel() != 1:
            raise NotFollowed("the loss is made of something else")
        return followed.tensor

    return reference


def _handed(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return Followed(value) if value.dtype.is_floating_point else value.numpy().copy()
