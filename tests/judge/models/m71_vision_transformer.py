"""A small vision transformer: patches and a class token through one block of attention and GELU, smoothed labels."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    patches = F.conv2d(images, params["kernel"], params["kernel_bias"], stride=2)
    patches = patches.flatten(2).transpose(1, 2)
    n, _, d = patches.shape
    x = torch.cat([params["cls"].expand(n, 1, d), patches], dim=1) + params["pos"]
    u = F.layer_norm(x, (d,), params["gain"], params["shift"])
    attended = F.scaled_dot_product_attention(u @ params["Wq"], u @ params["Wk"], u @ params["Wv"])
    x = x + attended @ params["Wo"]
    hidden = F.gelu(F.linear(F.layer_norm(x, (d,)), params["W1"], params["b1"]))
    x = x + F.linear(hidden, params["W2"], params["b2"])
    logits = F.layer_norm(x[:, 0], (d,)) @ params["head"] + params["head_bias"]
    return F.cross_entropy(logits, labels, label_smoothing=0.2)


def normalise(x):
    centred = x - x.mean(axis=-1, keepdims=True)
    inv_std = 1 / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
    return centred * inv_std, inv_std


def normalise_backward(dxhat, xhat, inv_std):
    mean_of_grad = dxhat.mean(axis=-1, keepdims=True)
    projection = np.mean(dxhat * xhat, axis=-1, keepdims=True)
    return inv_std * (dxhat - mean_of_grad - xhat * projection)


def softmax(a):
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def normal_cdf(a):
    return 0.5 * (1 + np.vectorize(math.erf)(a / math.sqrt(2)))


def to_patches(images, size):
    n, channels, height, width = images.shape
    tiles = images.reshape(n, channels, height // size, size, width // size, size)
    return tiles.transpose(0, 2, 4, 1, 3, 5).reshape(n, -1, channels * size * size)


def candidate(params, images, labels):
    kernel, pos, gain = params["kernel"], params["pos"], params["gain"]
    Wq, Wk, Wv, Wo = params["Wq"], params["Wk"], params["Wv"], params["Wo"]
    W1, W2, head = params["W1"], params["W2"], params["head"]
    n, d, classes, eps = len(images), pos.shape[1], head.shape[1], 0.2

    # forward
    patches = to_patches(images, kernel.shape[-1])
    embedded = patches @ kernel.reshape(d, -1).T + params["kernel_bias"]
    first = np.tile(params["cls"], (n, 1, 1))
    x0 = np.concatenate([first, embedded], axis=1) + pos
    x0_hat, x0_inv = normalise(x0)
    u = gain * x0_hat + params["shift"]
    q, k, v = u @ Wq, u @ Wk, u @ Wv
    scale = 1 / math.sqrt(Wq.shape[1])
    att = softmax(q @ k.transpose(0, 2, 1) * scale)
    mixed = att @ v
    x1 = x0 + mixed @ Wo
    x1_hat, x1_inv = normalise(x1)
    a = x1_hat @ W1.T + params["b1"]
    cdf = normal_cdf(a)
    hidden = a * cdf
    x2 = x1 + hidden @ W2.T + params["b2"]
    top = x2[:, 0]
    top_hat, top_inv = normalise(top)
    probs = softmax(top_hat @ head + params["head_bias"])
    onehot = np.eye(classes)[labels]
    target = (1 - eps) * onehot + eps / classes
    loss = -np.sum(target * np.log(probs)) / n

    # backward
    dlogits = (probs - target) / n
    dhead = top_hat.T @ dlogits
    dhead_bias = dlogits.sum(axis=0)
    dtop = normalise_backward(dlogits @ head.T, top_hat, top_inv)
    dx2 = np.zeros_like(x2)
    dx2[:, 0] = dtop

    dhidden = dx2 @ W2
    dW2 = np.einsum("nto,nth->oh", dx2, hidden)
    db2 = dx2.sum(axis=(0, 1))
    density = np.exp(-(a**2) / 2) / math.sqrt(2 * math.pi)
    da = dhidden * (cdf + a * density)
    dW1 = np.einsum("nth,ntd->hd", da, x1_hat)
    db1 = da.sum(axis=(0, 1))
    dx1 = dx2 + normalise_backward(da @ W1, x1_hat, x1_inv)

    dWo = np.einsum("ntk,ntd->kd", mixed, dx1)
    dmixed = dx1 @ Wo.T
    datt = dmixed @ v.transpose(0, 2, 1)
    dv = att.transpose(0, 2, 1) @ dmixed
    dscores = att * (datt - np.sum(datt * att, axis=-1, keepdims=True))
    dscores = dscores * scale
    dq = dscores @ k
    dk = dscores.transpose(0, 2, 1) @ q
    dWq, dWk, dWv = (np.einsum("ntd,ntk->dk", u, one) for one in (dq, dk, dv))
    du = dq @ Wq.T + dk @ Wk.T + dv @ Wv.T
    dgain = np.sum(du * x0_hat, axis=(0, 1))
    dshift = np.sum(du, axis=(0, 1))
    dx0 = dx1 + normalise_backward(du * gain, x0_hat, x0_inv)

    dpos = dx0.sum(axis=0)
    dcls = dx0[:, 0].sum(axis=0)
    dembedded = dx0[:, 1:]
    dkernel = np.einsum("ntd,ntp->dp", dembedded, patches).reshape(kernel.shape)
    dkernel_bias = dembedded.sum(axis=(0, 1))
    return loss, {
        "kernel": dkernel,
        "kernel_bias": dkernel_bias,
        "cls": dcls,
        "pos": dpos,
        "gain": dgain,
        "shift": dshift,
        "Wq": dWq,
        "Wk": dWk,
        "Wv": dWv,
        "Wo": dWo,
        "W1": dW1,
        "b1": db1,
        "W2": dW2,
        "b2": db2,
        "head": dhead,
        "head_bias": dhead_bias,
    }


def problem(rng):
    d, key, hidden, classes, channels = 6, 4, 9, 3, 2
    params = {
        "kernel": rng.normal(size=(d, channels, 2, 2)) * 0.5,
        "kernel_bias": rng.normal(size=d) * 0.4,
        "cls": rng.normal(size=d),
        "pos": rng.normal(size=(7, d)) * 0.5,
        "gain": rng.uniform(0.5, 1.6, size=d),
        "shift": rng.normal(size=d) * 0.4,
        "Wq": rng.normal(size=(d, key)) * 0.8,
        "Wk": rng.normal(size=(d, key)) * 0.8,
        "Wv": rng.normal(size=(d, key)) * 0.7,
        "Wo": rng.normal(size=(key, d)) * 0.8,
        "W1": rng.normal(size=(hidden, d)) * 0.6,
        "b1": rng.normal(size=hidden) * 0.5,
        "W2": rng.normal(size=(d, hidden)) * 0.6,
        "b2": rng.normal(size=d) * 0.4,
        "head": rng.normal(size=(d, classes)) * 0.8,
        "head_bias": rng.normal(size=classes) * 0.4,
    }
    return params, (rng.normal(size=(5, channels, 4, 6)), rng.integers(0, classes, size=5))


WRONG = [
    wrong(
        "smoothing_not_in_the_gradient",
        "different-function|wrong-operand",
        "dlogits = (probs - target) / n",
        "dlogits = (probs - onehot) / n",
    ),
    wrong(
        "variance_as_constant",
        "missing-path|diagonal-jacobian",
        "inv_std * (dxhat - mean_of_grad - xhat * projection)",
        "inv_std * (dxhat - mean_of_grad)",
    ),
    wrong(
        "attention_residual_forgotten",
        "missing-path",
        "dx0 = dx1 + normalise_backward(",
        "dx0 = normalise_backward(",
    ),
    wrong(
        "last_norm_not_passed_backwards",
        "missing-derivative|missing-path",
        "dtop = normalise_backward(dlogits @ head.T, top_hat, top_inv)",
        "dtop = dlogits @ head.T",
    ),
    wrong(
        "scale_of_the_scores_forgotten",
        "missing-derivative|wrong-scale",
        "    dscores = dscores * scale\n",
        "",
    ),
    wrong(
        "softmax_jacobian_summed_over_the_queries",
        "wrong-axis",
        "np.sum(datt * att, axis=-1, keepdims=True)",
        "np.sum(datt * att, axis=1, keepdims=True)",
    ),
    wrong(
        "scores_scaled_by_the_width_of_the_tokens_in_both",
        "different-function|wrong-operand|wrong-scale",
        "scale = 1 / math.sqrt(Wq.shape[1])",
        "scale = 1 / math.sqrt(d)",
    ),
    wrong(
        "attention_not_transposed_for_the_values",
        "not-transposed|transposed",
        "dv = att.transpose(0, 2, 1) @ dmixed",
        "dv = att @ dmixed",
    ),
    wrong(
        "keys_not_back_into_the_tokens",
        "missing-path",
        "du = dq @ Wq.T + dk @ Wk.T + dv @ Wv.T",
        "du = dq @ Wq.T + dv @ Wv.T",
    ),
    wrong(
        "queries_for_the_keys",
        "wrong-operand",
        "dq = dscores @ k\n",
        "dq = dscores @ q\n",
    ),
    wrong(
        "gelu_slope_without_the_density",
        "missing-path|different-function|missing-derivative",
        "dhidden * (cdf + a * density)",
        "dhidden * cdf",
    ),
    wrong(
        "gelu_slope_at_its_output",
        "derivative-at-wrong-point",
        "(cdf + a * density)",
        "(normal_cdf(hidden) + hidden * density)",
        "density = np.exp(-(a**2) / 2)",
        "density = np.exp(-(hidden**2) / 2)",
    ),
    wrong(
        "tokens_before_the_norm_for_W1",
        "wrong-operand",
        'dW1 = np.einsum("nth,ntd->hd", da, x1_hat)',
        'dW1 = np.einsum("nth,ntd->hd", da, x1)',
    ),
    wrong(
        "gain_not_applied_backwards",
        "missing-derivative",
        "normalise_backward(du * gain, x0_hat, x0_inv)",
        "normalise_backward(du, x0_hat, x0_inv)",
    ),
    wrong(
        "patches_shifted_by_the_class_token",
        "shifted-in-time|wrong-operand",
        "dembedded = dx0[:, 1:]",
        "dembedded = dx0[:, :-1]",
    ),
    wrong(
        "class_token_averaged",
        "wrong-scale|wrong-reduction",
        "dcls = dx0[:, 0].sum(axis=0)",
        "dcls = dx0[:, 0].mean(axis=0)",
    ),
    wrong(
        "mean_of_the_tokens_in_both",
        "different-function|wrong-operand",
        "top = x2[:, 0]",
        "top = x2.mean(axis=1)",
        "dx2[:, 0] = dtop",
        "dx2 += dtop[:, None] / x2.shape[1]",
    ),
    wrong(
        "unbiased_variance_in_both",
        "different-function",
        "inv_std = 1 / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-5)",
        "inv_std = 1 / np.sqrt(np.var(x, axis=-1, ddof=1, keepdims=True) + 1e-5)",
        "projection = np.mean(dxhat * xhat, axis=-1, keepdims=True)",
        "projection = np.sum(dxhat * xhat, axis=-1, keepdims=True) / (xhat.shape[-1] - 1)",
    ),
    wrong(
        "smoothing_over_the_other_classes_in_both",
        "different-function|wrong-operand",
        "target = (1 - eps) * onehot + eps / classes",
        "target = (1 - eps) * onehot + eps / (classes - 1) * (1 - onehot)",
    ),
    wrong(
        "labels_not_smoothed_in_cost",
        "wrong-loss",
        "-np.sum(target * np.log(probs)) / n",
        "-np.sum(onehot * np.log(probs)) / n",
    ),
]

TOGETHER = [
    ("attention_residual_forgotten", "gelu_slope_without_the_density"),
    ("scale_of_the_scores_forgotten", "attention_not_transposed_for_the_values"),
    ("keys_not_back_into_the_tokens", "tokens_before_the_norm_for_W1"),
    ("patches_shifted_by_the_class_token", "variance_as_constant"),
    ("smoothing_not_in_the_gradient", "class_token_averaged"),
    ("queries_for_the_keys", "patches_shifted_by_the_class_token", "tokens_before_the_norm_for_W1"),
]

RIGHT = [
    right(
        "image_by_image",
        "    datt = dmixed @ v.transpose(0, 2, 1)\n"
        "    dv = att.transpose(0, 2, 1) @ dmixed\n"
        "    dscores = att * (datt - np.sum(datt * att, axis=-1, keepdims=True))\n"
        "    dscores = dscores * scale\n"
        "    dq = dscores @ k\n"
        "    dk = dscores.transpose(0, 2, 1) @ q\n"
        '    dWq, dWk, dWv = (np.einsum("ntd,ntk->dk", u, one) for one in (dq, dk, dv))\n'
        "    du = dq @ Wq.T + dk @ Wk.T + dv @ Wv.T\n",
        "    dWq, dWk, dWv, du = np.zeros_like(Wq), np.zeros_like(Wk), np.zeros_like(Wv), np.zeros_like(u)\n"
        "    for i in range(n):\n"
        "        for s, row in enumerate(att[i]):\n"
        "            jacobian = np.diag(row) - np.outer(row, row)\n"
        "            dscore = jacobian @ (v[i] @ dmixed[i, s]) * scale\n"
        "            dq = k[i].T @ dscore\n"
        "            dk = np.outer(dscore, q[i, s])\n"
        "            dv = np.outer(row, dmixed[i, s])\n"
        "            dWq += np.outer(u[i, s], dq)\n"
        "            dWk += u[i].T @ dk\n"
        "            dWv += u[i].T @ dv\n"
        "            du[i, s] += Wq @ dq\n"
        "            du[i] += dk @ Wk.T + dv @ Wv.T\n",
    ),
    right(
        "only_the_class_token_above_the_attention",
        "    dx2 = np.zeros_like(x2)\n    dx2[:, 0] = dtop\n\n    dhidden = dx2 @ W2\n"
        '    dW2 = np.einsum("nto,nth->oh", dx2, hidden)\n    db2 = dx2.sum(axis=(0, 1))\n'
        "    density = np.exp(-(a**2) / 2) / math.sqrt(2 * math.pi)\n"
        "    da = dhidden * (cdf + a * density)\n"
        '    dW1 = np.einsum("nth,ntd->hd", da, x1_hat)\n    db1 = da.sum(axis=(0, 1))\n'
        "    dx1 = dx2 + normalise_backward(da @ W1, x1_hat, x1_inv)\n",
        "    dW2 = dtop.T @ hidden[:, 0]\n    db2 = dtop.sum(axis=0)\n"
        "    a0 = a[:, 0]\n"
        "    slope = cdf[:, 0] + a0 * np.exp(-0.5 * a0 * a0) / (2 * math.pi) ** 0.5\n"
        "    da = (dtop @ W2) * slope\n"
        "    dW1 = da.T @ x1_hat[:, 0]\n    db1 = da.sum(axis=0)\n"
        "    dx1 = np.zeros_like(x1)\n"
        "    dx1[:, 0] = dtop + normalise_backward(da @ W1, x1_hat[:, 0], x1_inv[:, 0])\n",
    ),
    right(
        "one_matrix_for_queries_keys_and_values",
        "    q, k, v = u @ Wq, u @ Wk, u @ Wv\n",
        "    Wqkv = np.hstack([Wq, Wk, Wv])\n    q, k, v = np.split(u @ Wqkv, 3, axis=-1)\n",
        '    dWq, dWk, dWv = (np.einsum("ntd,ntk->dk", u, one) for one in (dq, dk, dv))\n'
        "    du = dq @ Wq.T + dk @ Wk.T + dv @ Wv.T\n",
        "    dqkv = np.concatenate([dq, dk, dv], axis=-1).reshape(-1, Wqkv.shape[1])\n"
        "    dWq, dWk, dWv = np.split(u.reshape(-1, d).T @ dqkv, 3, axis=1)\n"
        "    du = (dqkv @ Wqkv.T).reshape(u.shape)\n",
        "    mean_of_grad = dxhat.mean(axis=-1, keepdims=True)\n"
        "    projection = np.mean(dxhat * xhat, axis=-1, keepdims=True)\n"
        "    return inv_std * (dxhat - mean_of_grad - xhat * projection)\n",
        "    width = xhat.shape[-1]\n"
        "    dstd = -(dxhat * xhat).sum(axis=-1, keepdims=True) * inv_std\n"
        "    dcentred = dxhat * inv_std + dstd * xhat / width\n"
        "    return dcentred - dcentred.sum(axis=-1, keepdims=True) / width\n",
    ),
]
