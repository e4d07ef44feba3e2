"""A normalising flow fitted by maximum likelihood: a planar layer, two affine couplings, a Gaussian base."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x):
    p = params
    act = x @ p["w"] + p["b"]
    z = x + torch.tanh(act)[:, None] * p["u"]
    logdet = torch.log(torch.abs(1 + (1 - torch.tanh(act) ** 2) * (p["u"] @ p["w"])))
    for k, flip in (("1", False), ("2", True)):
        fixed, moved = (z[:, 3:], z[:, :3]) if flip else (z[:, :2], z[:, 2:])
        h = F.softplus(fixed @ p["A" + k] + p["a" + k])
        s = torch.tanh(h @ p["S" + k])
        moved = moved * torch.exp(s) + h @ p["T" + k]
        z = torch.cat((moved, fixed) if flip else (fixed, moved), dim=1)
        logdet = logdet + s.sum(dim=1)
    return -torch.mean(torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(dim=1) + logdet)


def planar(x, w, b, u):
    h = np.tanh(x @ w + b)
    psi = 1 - h**2
    det = 1 + psi * np.dot(u, w)
    return x + np.outer(h, u), np.log(np.abs(det)), (x, h, psi, det)


def planar_backward(dz, dlogdet, cache, w, b, u):
    x, h, psi, det = cache
    ddet = dlogdet / det
    # z = x + u h
    du = h @ dz
    dh = dz @ u
    # det = 1 + (1 - h^2) u.w
    uw = u @ w
    du += np.sum(ddet * psi) * w
    dw = np.sum(ddet * psi) * u
    dh += ddet * uw * (-2 * h)
    dact = dh * psi
    dw += x.T @ dact
    db = np.sum(dact)
    return dw, db, du


def coupling(fixed, moved, A, a, S, T):
    pre = fixed @ A + a
    h = np.logaddexp(0, pre)
    s = np.tanh(h @ S)
    out = moved * np.exp(s) + h @ T
    return out, s.sum(axis=1), (fixed, moved, pre, h, s)


def coupling_backward(dout, dlogdet, cache, A, S, T):
    fixed, moved, pre, h, s = cache
    dmoved = dout * np.exp(s)
    ds = dout * moved * np.exp(s) + dlogdet[:, None]
    dsraw = ds * (1 - s**2)
    dS = h.T @ dsraw
    dT = h.T @ dout
    dh = dsraw @ S.T + dout @ T.T
    dpre = dh / (1 + np.exp(-pre))
    dA = fixed.T @ dpre
    da = dpre.sum(axis=0)
    dfixed = dpre @ A.T
    return dfixed, dmoved, {"A": dA, "a": da, "S": dS, "T": dT}


def candidate(params, x):
    N, D = x.shape
    p = params
    z0, ld0, c0 = planar(x, p["w"], p["b"], p["u"])
    out1, ld1, c1 = coupling(z0[:, :2], z0[:, 2:], p["A1"], p["a1"], p["S1"], p["T1"])
    z1 = np.concatenate([z0[:, :2], out1], axis=1)
    out2, ld2, c2 = coupling(z1[:, 3:], z1[:, :3], p["A2"], p["a2"], p["S2"], p["T2"])
    z2 = np.concatenate([out2, z1[:, 3:]], axis=1)
    log_base = -0.5 * np.sum(z2**2, axis=1) - 0.5 * D * np.log(2 * np.pi)
    loss = -np.mean(log_base + ld0 + ld1 + ld2)

    dz2 = z2 / N
    dld = -np.ones(N) / N
    dfix2, dmov2, g2 = coupling_backward(dz2[:, :3], dld, c2, p["A2"], p["S2"], p["T2"])
    dz1 = np.zeros((N, D))
    dz1[:, :3] = dmov2
    dz1[:, 3:] = dz2[:, 3:] + dfix2
    dfix1, dmov1, g1 = coupling_backward(dz1[:, 2:], dld, c1, p["A1"], p["S1"], p["T1"])
    dz0 = np.zeros((N, D))
    dz0[:, 2:] = dmov1
    dz0[:, :2] = dz1[:, :2] + dfix1
    dw, db, du = planar_backward(dz0, dld, c0, p["w"], p["b"], p["u"])

    grads = {"u": du, "w": dw, "b": np.array(db)}
    grads.update({name + "1": g for name, g in g1.items()})
    grads.update({name + "2": g for name, g in g2.items()})
    return loss, grads


def problem(rng):
    n, d, hidden = 6, 5, 4
    params = {"w": rng.normal(size=d) * 0.5, "b": np.array(0.3), "u": rng.normal(size=d) * 0.5}
    for k, fixed in (("1", 2), ("2", 2)):
        moved = d - fixed
        params["A" + k] = rng.normal(size=(fixed, hidden)) * 0.8
        params["a" + k] = rng.normal(size=hidden) * 0.4
        params["S" + k] = rng.normal(size=(hidden, moved)) * 0.5
        params["T" + k] = rng.normal(size=(hidden, moved)) * 0.6
    return params, (rng.normal(size=(n, d)) + 0.3,)


WRONG = [
    wrong(
        "planar_determinant_takes_slope_as_constant",
        "missing-path",
        "    dh += ddet * uw * (-2 * h)\n",
        "",
    ),
    wrong(
        "planar_determinant_not_felt_by_u",
        "missing-path",
        "    du += np.sum(ddet * psi) * w\n",
        "",
    ),
    wrong(
        "sign_of_the_second_derivative_of_tanh",
        "wrong-sign",
        "ddet * uw * (-2 * h)",
        "ddet * uw * (2 * h)",
    ),
    wrong(
        "log_of_the_determinant_not_differentiated",
        "missing-derivative",
        "ddet = dlogdet / det",
        "ddet = dlogdet",
    ),
    wrong(
        "weight_gradient_assigned_over_the_determinants",
        "overwritten|missing-path",
        "dw += x.T @ dact",
        "dw = x.T @ dact",
    ),
    wrong(
        "planar_slope_forgotten",
        "missing-derivative",
        "dact = dh * psi",
        "dact = dh",
    ),
    wrong(
        "coupling_determinant_forgotten_backwards",
        "missing-path",
        "ds = dout * moved * np.exp(s) + dlogdet[:, None]",
        "ds = dout * moved * np.exp(s)",
    ),
    wrong(
        "determinant_rewarded_with_the_wrong_sign",
        "wrong-sign",
        "dld = -np.ones(N) / N",
        "dld = np.ones(N) / N",
    ),
    wrong(
        "determinant_not_averaged",
        "wrong-reduction|wrong-scale",
        "dld = -np.ones(N) / N",
        "dld = -np.ones(N)",
    ),
    wrong(
        "scale_gradient_without_exp",
        "missing-derivative",
        "ds = dout * moved * np.exp(s) + dlogdet",
        "ds = dout * moved + dlogdet",
    ),
    wrong(
        "moved_half_divided_by_its_scale",
        "different-function|wrong-operand|wrong-sign",
        "dmoved = dout * np.exp(s)",
        "dmoved = dout * np.exp(-s)",
    ),
    wrong(
        "shift_network_does_not_reach_its_input",
        "missing-path",
        "dh = dsraw @ S.T + dout @ T.T",
        "dh = dsraw @ S.T",
    ),
    wrong(
        "softplus_slope_at_its_output",
        "derivative-at-wrong-point",
        "dpre = dh / (1 + np.exp(-pre))",
        "dpre = dh / (1 + np.exp(-h))",
    ),
    wrong(
        "fixed_half_only_passed_through",
        "missing-path",
        "dz1[:, 3:] = dz2[:, 3:] + dfix2",
        "dz1[:, 3:] = dz2[:, 3:]",
    ),
    wrong(
        "fixed_half_not_passed_through_first_coupling",
        "missing-path|overwritten",
        "dz0[:, :2] = dz1[:, :2] + dfix1",
        "dz0[:, :2] = dfix1",
    ),
    wrong(
        "constant_of_one_dimension_in_cost",
        "wrong-loss",
        "- 0.5 * D * np.log(2 * np.pi)",
        "- 0.5 * np.log(2 * np.pi)",
    ),
]

TOGETHER = [
    ("planar_determinant_takes_slope_as_constant", "softplus_slope_at_its_output"),
    ("planar_determinant_not_felt_by_u", "scale_gradient_without_exp"),
    ("coupling_determinant_forgotten_backwards", "fixed_half_only_passed_through"),
    ("determinant_not_averaged", "planar_slope_forgotten"),
    ("weight_gradient_assigned_over_the_determinants", "moved_half_divided_by_its_scale"),
    ("log_of_the_determinant_not_differentiated", "shift_network_does_not_reach_its_input"),
    (
        "planar_determinant_not_felt_by_u",
        "fixed_half_not_passed_through_first_coupling",
        "softplus_slope_at_its_output",
    ),
]

RIGHT = [
    right(
        "scale_gradient_from_the_output",
        "ds = dout * moved * np.exp(s) + dlogdet[:, None]",
        "scaled = moved * np.exp(s)\n    ds = dout * scaled + dlogdet[:, None]",
        "    dh += ddet * uw * (-2 * h)\n    dact = dh * psi\n",
        "    dpsi = ddet * uw\n    dact = dh * psi + dpsi * (-2 * h * psi)\n",
    ),
]
