"""Fused operations of torch, written as the parts that a person would write by hand.

Each takes the arguments of the core operation that it stands for and gives the same result. In this form a part that
was forgotten (the mean inside a normalisation, the logarithm inside a loss) is a place of its own.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

Tensor = torch.Tensor
MEAN, SUM = 1, 2  # torch's numbers for reduction="mean" and reduction="sum"
BILINEAR, ZEROS, BORDER = 0, 0, 1  # of grid_sample's mode and padding_mode
BAG_SUM, BAG_MEAN = 0, 1  # of embedding_bag's mode


def _reduced(value: Tensor, reduction: int) -> Tensor:
    if reduction == MEAN:
        return value.mean()
    return value.sum() if reduction == SUM else value


def _mse_loss(x: Tensor, target: Tensor, reduction: int = MEAN) -> Tensor:
    return _reduced((x - target) ** 2, reduction)


def _binary_cross_entropy(x: Tensor, y: Tensor, weight: Tensor | None = None, reduction: int = MEAN) -> Tensor:
    loss = -(y * x.log().clamp_min(-100) + (1 - y) * (1 - x).log().clamp_min(-100))
    return _reduced(loss if weight is None else loss * weight, reduction)


def _binary_cross_entropy_with_logits(
    z: Tensor, y: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = MEAN
) -> Tensor:
    if pos_weight is None:
        loss = torch.ops.aten.softplus(z) - y * z
    else:
        loss = (1 - y) * z + (1 + (pos_weight - 1) * y) * torch.ops.aten.softplus(-z)
    return _reduced(loss if weight is None else loss * weight, reduction)


def _binary_cross_entropy_of_sigmoid(
    z: Tensor, y: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = MEAN
) -> Tensor:
    p = torch.sigmoid(z)
    of_ones = y * p.log()
    loss = -((of_ones if pos_weight is None else pos_weight * of_ones) + (1 - y) * (1 - p).log())
    return _reduced(loss if weight is None else loss * weight, reduction)


def _log_of_sigmoid(z: Tensor) -> tuple[Tensor, Tensor]:
    return torch.sigmoid(z).log(), z.new_empty(0)


def _log_of_softmax(z: Tensor, dim: int, half_to_float: bool) -> Any:
    return NotImplemented if half_to_float else torch.softmax(z, dim).log()


def _log_of_sum(z: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    return z.exp().sum(dim, keepdim).log()


def _nll_loss(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int
) -> Any:
    if x.dim() > 2:
        return NotImplemented
    ignored = bool((target == ignore_index).any())
    if x.dim() == 1:
        return NotImplemented if ignored or weight is not None else (-x[target], x.new_ones(()))
    if not ignored and weight is None:
        picked = x.gather(1, target.unsqueeze(1)).squeeze(1)
        return _reduced(-picked, reduction), torch.tensor(float(target.numel()), dtype=x.dtype)
    kept = (target != ignore_index).to(x.dtype)
    chosen = torch.where(target == ignore_index, 0, target)
    weights = kept if weight is None else kept * weight[chosen]
    loss = -x.gather(1, chosen.unsqueeze(1)).squeeze(1) * weights
    return loss.sum() / weights.sum() if reduction == MEAN else _reduced(loss, reduction), weights.sum()


def _smooth_l1(x: Tensor, target: Tensor, reduction: int = MEAN, beta: float = 1.0) -> Tensor:
    error = x - target
    loss = torch.where(error.abs() < beta, 0.5 * error**2 / beta, error.abs() - 0.5 * beta)
    return _reduced(loss, reduction)


def _huber(x: Tensor, target: Tensor, reduction: int = MEAN, delta: float = 1.0) -> Tensor:
    error = x - target
    loss = torch.where(error.abs() <= delta, 0.5 * error**2, delta * (error.abs() - 0.5 * delta))
    return _reduced(loss, reduction)


def _log_sigmoid(x: Tensor) -> tuple[Tensor, Tensor]:
    return -torch.ops.aten.softplus(-x), x.new_empty(0)


def _glu(x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    return torch.where(x > 0, x, weight * x)


def _lerp(start: Tensor, end: Tensor, weight: Any) -> Any:
    return start + weight * (end - start)


def _addcmul(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    product = a * b
    return x + (product if value == 1 else value * product)


def _safe_softmax(x: Tensor, dim: int, dtype: Any = None) -> Any:
    whole_rows = bool((x == -math.inf).all(dim).any())
    return NotImplemented if dtype is not None or whole_rows else torch.ops.aten._softmax(x, dim, False)


def _repeat(x: Tensor, repeats: list[int]) -> Any:
    """A copy for each sample, where only axes of length 1 are repeated."""
    shape = [1] * (len(repeats) - x.dim()) + list(x.shape)
    if any(times != 1 and length != 1 for times, length in zip(repeats, shape, strict=True)):
        return NotImplemented
    return x.reshape(shape).expand([times * length for times, length in zip(repeats, shape, strict=True)])


def _variance(x: Tensor, dims: list[int] | None, correction: float, keepdim: bool) -> tuple[Tensor, Tensor]:
    dims = list(range(x.dim())) if not dims else list(dims)
    count = math.prod(x.shape[dim] for dim in dims)
    mean = x.mean(dims, True)
    variance = ((x - mean) ** 2).sum(dims, keepdim) / (count - correction)
    return variance, mean if keepdim else x.mean(dims)


def _var(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return _variance(x, dim, 1 if correction is None else correction, keepdim)[0]


def _std(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return _var(x, dim, correction=correction, keepdim=keepdim).sqrt()


def _var_mean(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Any:
    return _variance(x, dim, 1 if correction is None else correction, keepdim)


def _layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    dims = list(range(x.dim() - len(shape), x.dim()))
    normal, mean, rstd = _normalised(x, dims, eps)
    return _affine(normal, weight, bias, list(normal.shape[-len(shape) :])), mean, rstd


def _normalised(x: Tensor, dims: list[int], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    mean = x.mean(dims, True)
    centred = x - mean
    rstd = ((centred**2).mean(dims, True) + eps).rsqrt()
    return centred * rstd, mean, rstd


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: list[int]) -> Tensor:
    if weight is not None:
        x = x * (weight if list(weight.shape) == shape else weight.reshape(shape))
    return x if bias is None else x + (bias if list(bias.shape) == shape else bias.reshape(shape))


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    shape = [1, -1] + [1] * (x.dim() - 2)
    if training:
        normal, mean, rstd = _normalised(x, [0, *range(2, x.dim())], eps)
    elif running_mean is None or running_var is None:
        return NotImplemented
    else:
        mean, rstd = running_mean.reshape(shape), (running_var.reshape(shape) + eps).rsqrt()
        normal = (x - mean) * rstd
    sizes = [1, x.shape[1]] + [1] * (x.dim() - 2)
    return _affine(normal, weight, bias, sizes), mean.flatten(), rstd.flatten()


def _batch_norm_without_statistics(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, training: bool, momentum: float, eps: float
) -> Any:
    return _batch_norm(x, weight, bias, None, None, training, momentum, eps)


def _group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, c: int, hxw: int, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    grouped = x.reshape(n, groups, -1)
    normal, mean, rstd = _normalised(grouped, [2], eps)
    sizes = [1, c] + [1] * (x.dim() - 2)
    return _affine(normal.reshape(x.shape), weight, bias, sizes), mean.squeeze(2), rstd.squeeze(2)


def _addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    product = torch.mm(a, b)
    product = product if alpha == 1 else product * alpha
    return product + (bias if beta == 1 else bias * beta)


def _addmv(bias: Tensor, a: Tensor, v: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    product = torch.mv(a, v)
    product = product if alpha == 1 else product * alpha
    return product + (bias if beta == 1 else bias * beta)


def _baddbmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    product = torch.bmm(a, b)
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else product + (bias if beta == 1 else bias * beta)


def _vector_norm(x: Tensor, order: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    if order != 2 or dtype is not None:
        return NotImplemented
    dims = list(range(x.dim())) if dim is None else dim
    return (x**2).sum(dims, keepdim).sqrt()


def _bilinear(
    a: Tensor, weight: Tensor, b: Tensor, of_a: Any, of_weight: Any, of_b: Any, summed: Any, unroll: int = 1
) -> Any:
    """a (n, i), weight (k, i, j), b (n, j), as F.bilinear asks for them: (n, k)."""
    if (list(of_a), list(of_weight), list(of_b), list(summed)) != ([1, 3], [0], [1, 2], [2, 3]):
        return NotImplemented
    product = torch.bmm(a.expand(weight.shape[0], *a.shape), weight)  # (k, n, j)
    return (product * b).sum(-1).t()


def _embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scaled: bool = False,
    mode: int = BAG_SUM,
    sparse: bool = False,
    weights: Tensor | None = None,
    with_end: bool = False,
    padding: int = -1,
) -> Any:
    """The rows of each bag of indices, added up or averaged: (bags, width). `offsets` say where the bags begin."""
    begins = offsets[:-1] if with_end else offsets
    sizes = torch.diff(begins, append=torch.tensor([len(indices)]))
    bags = torch.repeat_interleave(sizes)
    counts = torch.zeros_like(sizes).index_add(0, bags, (indices != padding).to(sizes.dtype))
    if scaled or mode not in (BAG_SUM, BAG_MEAN) or not bool((counts > 0).all()):
        return NotImplemented
    alike = bool((sizes == sizes[0]).all())
    shape = (len(sizes), -1) if alike else (-1,)
    rows = torch.ops.aten.embedding(weight, indices.reshape(shape))
    rows = rows if weights is None else rows * weights.reshape(*shape, 1)
    if bool((indices == padding).any()):
        rows = rows * (indices != padding).reshape(*shape, 1)
    elif alike and mode == BAG_MEAN:
        return rows.mean(1), torch.empty(0), sizes, torch.empty(0)
    sums = rows.sum(1) if alike else rows.new_zeros(len(sizes), rows.shape[1]).index_add(0, bags, rows)
    found = sums if mode == BAG_SUM else sums / counts.unsqueeze(1)
    return found, torch.empty(0), sizes, torch.empty(0)


def _grid_sampler_2d(x: Tensor, grid: Tensor, mode: int, padding: int, align_corners: bool) -> Any:
    """x (n, c, h, w), read at a grid of places from -1 to 1, (n, rows, columns, 2): (n, c, rows, columns)."""
    if mode != BILINEAR or padding not in (ZEROS, BORDER):
        return NotImplemented
    h, w = x.shape[2:]
    across, down = (_pixels(grid[..., i], size, padding, align_corners) for i, size in enumerate((w, h)))
    left, top = across.detach().floor(), down.detach().floor()
    far_across, far_down = across - left, down - top  # from the pixel to the left, and from the one above
    corners = (
        (left, top, (1 - far_across) * (1 - far_down)),
        (left + 1, top, far_across * (1 - far_down)),
        (left, top + 1, (1 - far_across) * far_down),
        (left + 1, top + 1, far_across * far_down),
    )
    return sum(_read(x, column, row) * weight.unsqueeze(1) for column, row, weight in corners)


def _pixels(places: Tensor, size: int, padding: int, align_corners: bool) -> Tensor:
    """Places from -1 to 1, counted in pixels from the first."""
    pixels = (places + 1) / 2 * (size - 1) if align_corners else ((places + 1) * size - 1) / 2
    return pixels.clamp(0, size - 1) if padding == BORDER else pixels


def _read(x: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """The pixels at a column and a row for each sample, all channels of them; zero beyond the edges."""
    h, w = x.shape[2:]
    inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    sample = torch.arange(len(x)).reshape(-1, 1, 1)
    columns, rows = (one.clamp(0, size - 1).to(torch.int64) for one, size in ((column, w), (row, h)))
    found = x[sample, :, rows, columns].permute(0, 3, 1, 2)
    return found * inside.to(x.dtype).unsqueeze(1)


def _norm(x: Tensor, order: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    return _vector_norm(x, 2 if order is None else order, dim or None, keepdim)


def _copy(x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    return source.to(x.dtype).expand(x.shape).clone()


TABLE: Mapping[str, Callable[..., Any]] = {
    "mse_loss": _mse_loss,
    "binary_cross_entropy": _binary_cross_entropy,
    "binary_cross_entropy_with_logits": _binary_cross_entropy_with_logits,
    "nll_loss_forward": _nll_loss,
    "var.correction": _var,
    "std.correction": _std,
    "var_mean.correction": _var_mean,
    "native_layer_norm": _layer_norm,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit": _batch_norm,
    "_native_batch_norm_legit.no_stats": _batch_norm_without_statistics,
    "native_group_norm": _group_norm,
    "addmm": _addmm,
    "addmv": _addmv,
    "baddbmm": _baddbmm,
    "linalg_vector_norm": _vector_norm,
    "norm.ScalarOpt_dim": _norm,
    "norm.Scalar": _norm,
    "_trilinear": _bilinear,
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
    "grid_sampler_2d": _grid_sampler_2d,
    "smooth_l1_loss": _smooth_l1,
    "huber_loss": _huber,
    "log_sigmoid_forward": _log_sigmoid,
    "glu": _glu,
    "_prelu_kernel": _prelu,
    "lerp.Tensor": _lerp,
    "lerp.Scalar": _lerp,
    "addcmul": _addcmul,
    "_safe_softmax": _safe_softmax,
    "repeat": _repeat,
    "copy": _copy,
}


# Functions of logits that are done in one to be exact for large ones: with their sigmoid or softmax as a part.
OF_PROBABILITIES: Mapping[str, Callable[..., Any]] = {
    "binary_cross_entropy_with_logits": _binary_cross_entropy_of_sigmoid,
    "log_sigmoid_forward": _log_of_sigmoid,
    "_log_softmax": _log_of_softmax,
    "logsumexp": _log_of_sum,
}


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    if dropout_p or enable_gqa:
        return NotImplemented
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype is torch.bool else scores + attn_mask
    return torch.softmax(scores, -1) @ value


def _padded_sequences(
    data: Tensor, batch_sizes: Tensor, batch_first: bool, padding_value: float, total_length: int
) -> tuple[Tensor, Tensor]:
    sizes = batch_sizes.tolist()
    rows = max(sizes)
    steps = []
    for step in torch.split(data, sizes):
        rest = step.new_full((rows - len(step), *step.shape[1:]), padding_value)
        steps.append(torch.cat([step, rest]) if len(rest) else step)
    steps += [torch.full_like(steps[0], padding_value)] * (total_length - len(sizes))
    lengths = (batch_sizes[:, None] > torch.arange(rows)).sum(0)
    return torch.stack(steps, 1 if batch_first else 0), lengths


# Functions of torch that are made of core operations otherwise than by hand: by name, with what they give as well.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": _attention,
    "_pad_packed_sequence": _padded_sequences,
}


class ByHand(TorchFunctionMode):
    """Within it, such functions are done as a person would write them."""

    def __init__(self) -> None:
        super().__init__()
        self._logits = _Logits()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        parts = FUNCTIONS.get(name)
        found = NotImplemented if parts is None else parts(*args, **kwargs)
        if found is NotImplemented and name in _Logits.NAMES and _asked_by_a_distribution():
            found = self._logits.done(name, func, args, kwargs)
        return func(*args, **kwargs) if found is NotImplemented else found


_TORCH = os.path.join(os.path.dirname(torch.__file__), "")
_DISTRIBUTIONS = os.path.join(_TORCH, "distributions", "")


def _asked_by_a_distribution() -> bool:
    """Whether the nearest code outside torch's other folders is that of `torch.distributions`."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_TORCH):
        if frame.f_code.co_filename.startswith(_DISTRIBUTIONS):
            return True
        frame = frame.f_back
    return False


class _Logits:
    """What `torch.distributions` makes of logits z: z - logsumexp(z) is log_softmax(z), whose softmax is softmax(z)."""

    NAMES = ("logsumexp", "sub", "__sub__", "softmax", "clamp")

    def __init__(self) -> None:
        self._sums: list[tuple[Tensor, Tensor]] = []  # each with the logits that it is of
        self._normalised: list[tuple[Tensor, Tensor]] = []

    def done(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """What one of its functions gives; NotImplemented where it is to be done as it is."""
        if name == "logsumexp" and kwargs.get("keepdim") and kwargs.get("dim") == -1:
            self._sums.append((func(*args, **kwargs), args[0]))
            return self._sums[-1][0]
        if name in ("sub", "__sub__") and any(args[1] is total and args[0] is z for total, z in self._sums):
            self._normalised.append((torch.log_softmax(args[0], -1), args[0]))
            return self._normalised[-1][0]
        if name == "softmax" and kwargs.get("dim") == -1:
            return next((torch.softmax(z, -1) for one, z in self._normalised if one is args[0]), NotImplemented)
        if name == "clamp" and kwargs == {"min": torch.finfo(args[0].dtype).min}:
            return args[0]
        return NotImplemented


def decomposition(func: Any, probabilities: bool = False) -> Callable[..., Any] | None:
    """The parts of a core operation, as a function of the same arguments; None where it is no fused one.

    With `probabilities`, functions of logits are written as functions of their probabilities. The function may return
    NotImplemented for arguments that it does not cover; the operation is then done as it is.
    """
    name = func.overloadpacket.__name__
    overload = func._overloadname
    key = name if overload == "default" else f"{name}.{overload}"
    return OF_PROBABILITIES.get(key, TABLE.get(key)) if probabilities else TABLE.get(key)
