"""A sequence read forwards and backwards by two plain RNNs, averaged over time; regression with the log-cosh error."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    def run(steps, W, U, b):
        h, states = torch.zeros(len(x), U.shape[0], dtype=x.dtype), []
        for t in steps:
            h = torch.tanh(x[:, t] @ W + h @ U + b)
            states.append(h)
        return states

    length = x.shape[1]
    ahead = run(range(length), params["W_f"], params["U_f"], params["b_f"])
    back = run(range(length - 1, -1, -1), params["W_b"], params["U_b"], params["b_b"])[::-1]
    both = torch.cat([torch.stack(ahead, 1), torch.stack(back, 1)], dim=2)
    out = F.relu(both @ params["V"] + params["a"]).mean(dim=1) @ params["w"]
    return torch.log(torch.cosh(out - y)).mean()


def run(x, W, U, b):
    h = np.zeros((x.shape[1], len(U)))
    hs = [h]
    for x_t in x:
        h = np.tanh(x_t @ W + h @ U + b)
        hs.append(h)
    return np.array(hs)


def candidate(params, x, y):
    x = np.swapaxes(x, 0, 1)
    length, n, _ = x.shape
    size = len(params["U_f"])
    f = run(x, params["W_f"], params["U_f"], params["b_f"])
    r = run(x[::-1], params["W_b"], params["U_b"], params["b_b"])
    both = np.concatenate([f[1:], r[1:][::-1]], axis=2)
    z = both @ params["V"] + params["a"]
    u = np.maximum(z, 0)
    average = u.mean(axis=0)
    e = average @ params["w"] - y
    loss = np.log(np.cosh(e)).mean()

    g = {k: np.zeros_like(v) for k, v in params.items()}
    de = np.tanh(e) / n
    g["w"] = average.T @ de
    dz = np.outer(de, params["w"])[None] / length * (z > 0)
    g["a"] = dz.sum(axis=(0, 1))
    g["V"] = np.einsum("tni,tnj->ij", both, dz)
    dboth = dz @ params["V"].T
    df, dr = dboth[:, :, :size], dboth[::-1, :, size:]

    carry = 0
    for t in range(length - 1, -1, -1):
        da = (df[t] + carry) * (1 - f[t + 1] ** 2)
        g["W_f"] += x[t].T @ da
        g["U_f"] += f[t].T @ da
        g["b_f"] += da.sum(axis=0)
        carry = da @ params["U_f"].T
    carry = 0
    for t in range(length - 1, -1, -1):
        da = (dr[t] + carry) * (1 - r[t + 1] ** 2)
        g["W_b"] += x[length - 1 - t].T @ da
        g["U_b"] += r[t].T @ da
        g["b_b"] += da.sum(axis=0)
        carry = da @ params["U_b"].T
    return loss, g


def problem(rng):
    params = {}
    for d in "fb":
        params["W_" + d] = rng.normal(size=(2, 3)) * 0.8
        params["U_" + d] = rng.normal(size=(3, 3)) * 0.6
        params["b_" + d] = rng.normal(size=3) * 0.4
    params |= {"V": rng.normal(size=(6, 4)), "a": rng.normal(size=4) * 0.5 + 0.3, "w": rng.normal(size=4)}
    return params, (rng.normal(size=(8, 5, 2)), rng.normal(size=8))


WRONG = [
    wrong("W_b_assigned", "overwritten|last-step-only", 'g["W_b"] += ', 'g["W_b"] = '),
    wrong(
        "halves_exchanged",
        "wrong-operand",
        "dboth[:, :, :size], dboth[::-1, :, size:]",
        "dboth[:, :, size:], dboth[::-1, :, :size]",
    ),
    wrong(
        "backward_reader_not_reversed",
        "wrong-operand|flipped",
        "x[length - 1 - t].T @ da",
        "x[t].T @ da",
    ),
    wrong("backward_gradient_not_reversed", "wrong-operand|flipped", "dboth[::-1, :, size:]", "dboth[:, :, size:]"),
    wrong(
        "backward_reader_forgotten",
        "missing-path",
        "dr[t] + carry) * (1 - r[t + 1] ** 2)",
        "0 * dr[t] + carry) * (1 - r[t + 1] ** 2)",
    ),
    wrong("new_state_in_U_f", "shifted-in-time", 'g["U_f"] += f[t].T', 'g["U_f"] += f[t + 1].T'),
    wrong("slope_of_the_old_state", "shifted-in-time", "(1 - f[t + 1] ** 2)", "(1 - f[t] ** 2)"),
    wrong("slope_forgotten_forwards", "missing-derivative", "(df[t] + carry) * (1 - f[t + 1] ** 2)", "df[t] + carry"),
    wrong(
        "slope_not_on_the_carry",
        "missing-derivative",
        "da = (dr[t] + carry) * (1 - r[t + 1] ** 2)",
        "da = dr[t] * (1 - r[t + 1] ** 2) + carry",
    ),
    wrong("U_f_not_transposed", "not-transposed", 'carry = da @ params["U_f"].T', 'carry = da @ params["U_f"]'),
    wrong("other_readers_weight", "wrong-operand", 'carry = da @ params["U_b"].T', 'carry = da @ params["U_f"].T'),
    wrong(
        "no_time_in_the_backward_reader",
        "truncated-in-time|missing-path",
        '        carry = da @ params["U_b"].T\n',
        "",
    ),
    wrong("relu_slope_forgotten", "missing-derivative", "/ length * (z > 0)", "/ length * np.ones_like(z)"),
    wrong("length_forgotten", "wrong-scale|wrong-reduction", "[None] / length * (z > 0)", "[None] * (z > 0)"),
    wrong("sign_for_tanh", "different-function", "de = np.tanh(e) / n", "de = np.sign(e) / n"),
    wrong("error_for_tanh", "different-function", "de = np.tanh(e) / n", "de = e / n"),
    wrong(
        "half_squared_error_in_both",
        "different-function",
        "np.log(np.cosh(e)).mean()",
        "(0.5 * e**2).mean()",
        "de = np.tanh(e) / n",
        "de = e / n",
    ),
    wrong(
        "states_in_reading_order_in_both",
        "flipped|different-function|wrong-operand",
        "r[1:][::-1]]",
        "r[1:]]",
        "dboth[::-1, :, size:]",
        "dboth[:, :, size:]",
    ),
    wrong(
        "time_averaged_twice_in_cost", "wrong-loss", "np.log(np.cosh(e)).mean()", "np.log(np.cosh(e)).mean() / length"
    ),
]

TOGETHER = [
    ("halves_exchanged", "length_forgotten"),
    ("new_state_in_U_f", "no_time_in_the_backward_reader"),
    ("slope_forgotten_forwards", "other_readers_weight"),
    ("sign_for_tanh", "U_f_not_transposed"),
    ("relu_slope_forgotten", "backward_reader_not_reversed", "slope_of_the_old_state"),
]

RIGHT = [
    right(
        "states_beside_each_other",
        '        g["U_f"] += f[t].T @ da\n',
        "        das.append(da)\n",
        "    carry = 0\n    for t in range(length - 1, -1, -1):\n        da = (df[t]",
        "    carry, das = 0, []\n    for t in range(length - 1, -1, -1):\n        da = (df[t]",
        "    return loss, g",
        '    g["U_f"] = np.vstack(f[:-1]).T @ np.vstack(das[::-1])\n    return loss, g',
    ),
    right("cosh_without_overflow", "np.log(np.cosh(e)).mean()", "np.mean(np.logaddexp(e, -e) - np.log(2))"),
]
