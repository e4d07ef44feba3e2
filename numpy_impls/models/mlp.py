"""A fully connected network, sigmoid in every layer, with the cross-entropy of independent yes-or-no outputs.

With a_0 = x, for the layers k = 1 ... K:

    z_k = a_{k-1} W_k + b_k,  a_k = s(z_k),  s(z) = 1 / (1 + exp(-z))
    loss = -1/n sum over samples and outputs of  y log a_K + (1 - y) log(1 - a_K)

    dz_K     = (a_K - y) / n                        the cross-entropy's 1 / (a (1 - a)) has cancelled s'(z_K)
    dz_{k-1} = (dz_k W_k') * a_{k-1} (1 - a_{k-1})  s'(z) = s(z) (1 - s(z)): one factor for each hidden layer
    dW_k = a_{k-1}' dz_k,  db_k = sum over samples of dz_k

Conventions: mean over samples, sum over outputs. `params` holds W1, b1, W2, b2, ...; W_k has shape (in, out), b_k
(out,). A layer without a bias has no b_k.
Source: Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors" (Nature 323),
equations 1 to 7, which have the squared error; the loss is torch.nn.BCEWithLogitsLoss, summed over outputs.
"""

import numpy as np


def sigmoid(z):
    """1 / (1 + exp(-z)) elementwise, of the shape and dtype of `z`, which may be complex (for the complex step)."""
    e = np.exp(np.minimum(z, -z))  # exp(-|z|) cannot overflow; |z| itself would lose the imaginary part
    return np.where(z >= 0, 1, e) / (1 + e)


def cross_entropy(z, y):
    """Cross-entropy of sigmoid(z) with the targets y, both (n, outputs), y in [0, 1]: mean over n, sum over outputs.

    Taken from z and not from sigmoid(z), which rounds to 0 or 1 where |z| is large, so that its logarithm is lost:
    -log s(z) = log(1 + exp(-z)). Raises ValueError where the shapes differ.
    """
    check_targets(y, z.shape)
    return np.sum(np.maximum(z, 0) - z * y + np.log1p(np.exp(np.minimum(z, -z)))) / len(z)


def check_targets(y, shape):
    """Raise ValueError unless y has this shape: (n,) against (n, 1) would silently become (n, n)."""
    if y.shape != shape:
        raise ValueError(f"the targets have shape {y.shape}, the outputs {shape}")


def n_layers(params):
    """How many layers `params` has: W1, W2, ..."""
    return sum(name.startswith("W") for name in params)


def forward(params, x):
    """Return (z, a): the last layer's input z (n, outputs), and the list of all activations, a[0] = x to a[K] = s(z).

    `x` has shape (n, inputs), or (inputs,) for one sample. Raises KeyError where a layer's weights are missing.
    """
    a = [x]
    for k in range(1, n_layers(params) + 1):
        z = a[k - 1] @ params[f"W{k}"]  # (n, out)
        if f"b{k}" in params:
            z = z + params[f"b{k}"]
        a.append(sigmoid(z))
    return z, a


def backward(params, a, dz):
    """Return the gradients of all parameters, from the activations and the gradient dz (n, outputs) of the last z."""
    grads = {}
    for k in range(n_layers(params), 0, -1):
        grads[f"W{k}"] = a[k - 1].T @ dz  # (in, out)
        if f"b{k}" in params:
            grads[f"b{k}"] = dz.sum(axis=0)  # (out,)
        if k > 1:
            dz = dz @ params[f"W{k}"].T * a[k - 1] * (1 - a[k - 1])  # (n, in)
    return grads


def loss_and_grads(params, x, y):
    """Return the loss and the gradient of each parameter, for the inputs x (n, inputs) and the targets y (n, outputs).

    Raises ValueError where shapes do not fit, KeyError where a layer's weights are missing.
    """
    z, a = forward(params, x)
    dz = (a[-1] - y) / len(x)  # (n, outputs)
    return cross_entropy(z, y), backward(params, a, dz)


def loss_and_grads_per_sample(params, x, y):
    """The same, one sample after the other: a weight's gradient is the outer product of what comes in and dz."""
    loss, grads = 0, {name: np.zeros_like(value) for name, value in params.items()}
    for x_i, y_i in zip(x, y, strict=True):
        z, a = forward(params, x_i)
        loss = loss + cross_entropy(z[None], y_i[None]) / len(x)
        dz = (a[-1] - y_i) / len(x)  # (outputs,)
        for k in range(n_layers(params), 0, -1):
            grads[f"W{k}"] += np.outer(a[k - 1], dz)
            if f"b{k}" in params:
                grads[f"b{k}"] += dz
            if k > 1:
                dz = params[f"W{k}"] @ dz * a[k - 1] * (1 - a[k - 1])  # (in,)
    return loss, grads


def loss_and_grads_tuned(params, x, y):
    """The same with features first and samples last, in place.

    Faster on small networks, where the number of NumPy calls and the length of their inner loops decide: every loop
    runs over the n samples instead of the few units. `W.dot(a)` for `W @ a`, which costs three times as much to call.
    """
    n, K, a = len(x), n_layers(params), [x.T]
    with np.errstate(over="ignore"):  # exp(1000) is infinite, and 1 / (1 + infinity) the right 0
        for k in range(1, K + 1):
            z = params[f"W{k}"].T.dot(a[k - 1])  # (out, n)
            if f"b{k}" in params:
                z += params[f"b{k}"][:, None]
            h = np.exp(-z)
            h += 1
            a.append(np.reciprocal(h, out=h))
    check_targets(y, z.T.shape)
    loss = (np.maximum(z, 0) - z * y.T + np.log1p(np.exp(-np.abs(z)))).sum() / n
    dz = (a[K] - y.T) / n  # (outputs, n)
    grads = {}
    for k in range(K, 0, -1):
        grads[f"W{k}"] = dz.dot(a[k - 1].T).T  # the long operand to the right: a third faster than a dz'
        if f"b{k}" in params:
            grads[f"b{k}"] = dz.sum(axis=1)
        if k > 1:
            dz = params[f"W{k}"].dot(dz)  # (in, n)
            dz *= a[k - 1]
            dz -= a[k - 1] * dz  # h - h^2, without an array for 1 - h
    return loss, grads
