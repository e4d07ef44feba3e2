"""A variational autoencoder whose sample goes through two planar flows kept invertible, with a Bernoulli decoder."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, noise):
    h = torch.tanh(x @ params["We"] + params["be"])
    mean, log_var = h @ params["Wm"] + params["bm"], h @ params["Wv"] + params["bv"]
    z = mean + torch.exp(0.5 * log_var) * noise
    log_det = 0.0
    for k in range(len(params["w"])):
        w, u, c = params["w"][k], params["u"][k], params["c"][k]
        along = w @ u
        u_hat = u + (F.softplus(along) - 1 - along) * w / (w @ w)
        t = torch.tanh(z @ w + c)
        log_det = log_det + torch.log(1 + (1 - t**2) * (w @ u_hat))
        z = z + t[:, None] * u_hat
    logits = z @ params["Wd"] + params["bd"]
    n = len(x)
    log_q = -0.5 * (log_var + noise**2).sum() - log_det.sum()
    log_prior = -0.5 * (z**2).sum()
    return {
        "reconstruction": F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / n,
        "divergence": (log_q - log_prior) / n,
    }


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def constrain(w, u):
    along = w @ u
    stretch = np.log1p(np.exp(along)) - 1 - along
    return u + stretch * w / (w @ w), along, stretch


def constrain_backward(du_hat, w, u, along, stretch):
    norm = w @ w
    dstretch = du_hat @ w / norm
    dalong = dstretch * (sigmoid(along) - 1)
    du = du_hat + dalong * w
    dw = stretch / norm * du_hat - 2 * stretch * (du_hat @ w) / norm**2 * w + dalong * u
    return dw, du


def flow(z, w, u, c):
    u_hat, along, stretch = constrain(w, u)
    t = np.tanh(z @ w + c)
    slope = 1 - t**2
    inner = w @ u_hat
    det = 1 + slope * inner
    return z + np.outer(t, u_hat), np.log(det), (z, u_hat, along, stretch, t, slope, inner, det)


def flow_backward(dz_out, dlog_det, w, u, cache):
    z, u_hat, along, stretch, t, slope, inner, det = cache
    ddet = dlog_det / det
    dslope = ddet * inner
    dinner = np.sum(ddet * slope)
    dt = dz_out @ u_hat - 2 * t * dslope
    da = dt * slope
    du_hat = dz_out.T @ t + dinner * w
    dw_hat, du = constrain_backward(du_hat, w, u, along, stretch)
    dw = z.T @ da + dinner * u_hat + dw_hat
    dz = dz_out + np.outer(da, w)
    return dz, dw, du, da.sum()


def candidate(params, x, noise):
    p = params
    n = len(x)
    h = np.tanh(x @ p["We"] + p["be"])
    mean = h @ p["Wm"] + p["bm"]
    log_var = h @ p["Wv"] + p["bv"]
    sigma = np.exp(0.5 * log_var)
    z = mean + sigma * noise
    caches, log_dets = [], np.zeros(n)
    for k in range(len(p["w"])):
        z, log_det, cache = flow(z, p["w"][k], p["u"][k], p["c"][k])
        log_dets += log_det
        caches.append(cache)
    x_hat = sigmoid(z @ p["Wd"] + p["bd"])
    reconstruction = -np.sum(x * np.log(x_hat) + (1 - x) * np.log(1 - x_hat)) / n
    divergence = (-0.5 * np.sum(log_var + noise**2) - log_dets.sum() + 0.5 * np.sum(z**2)) / n
    loss = reconstruction + divergence

    g = {name: np.zeros_like(value) for name, value in params.items()}
    dlogits = (x_hat - x) / n
    g["Wd"] = z.T @ dlogits
    g["bd"] = dlogits.sum(axis=0)
    dz = dlogits @ p["Wd"].T + z / n
    dlog_det = -np.ones(n) / n
    for k in reversed(range(len(caches))):
        dz, g["w"][k], g["u"][k], g["c"][k] = flow_backward(dz, dlog_det, p["w"][k], p["u"][k], caches[k])
    dmean = dz
    dlog_var = dz * noise * 0.5 * sigma - 0.5 / n
    g["Wm"], g["bm"] = h.T @ dmean, dmean.sum(axis=0)
    g["Wv"], g["bv"] = h.T @ dlog_var, dlog_var.sum(axis=0)
    dh = dmean @ p["Wm"].T + dlog_var @ p["Wv"].T
    da = dh * (1 - h**2)
    g["We"], g["be"] = x.T @ da, da.sum(axis=0)
    return loss, g


def problem(rng):
    n, pixels, hidden, latent, flows = 5, 7, 4, 3, 2
    params = {
        "We": rng.normal(size=(pixels, hidden)) * 0.6,
        "be": rng.normal(size=hidden) * 0.4,
        "Wm": rng.normal(size=(hidden, latent)) * 0.7,
        "bm": rng.normal(size=latent) * 0.4,
        "Wv": rng.normal(size=(hidden, latent)) * 0.5,
        "bv": rng.normal(size=latent) * 0.4,
        "w": rng.normal(size=(flows, latent)),
        "u": rng.normal(size=(flows, latent)),
        "c": rng.normal(size=flows) * 0.5,
        "Wd": rng.normal(size=(latent, pixels)) * 0.7,
        "bd": rng.normal(size=pixels) * 0.4,
    }
    return params, (rng.uniform(0.05, 0.95, size=(n, pixels)), rng.normal(size=(n, latent)))


WRONG = [
    wrong(
        "determinant_added_instead_of_taken_off",
        "wrong-sign",
        "dlog_det = -np.ones(n) / n",
        "dlog_det = np.ones(n) / n",
    ),
    wrong(
        "prior_of_the_sample_before_the_flows",
        "wrong-operand",
        'dz = dlogits @ p["Wd"].T + z / n',
        'dz = dlogits @ p["Wd"].T + (mean + sigma * noise) / n',
    ),
    wrong(
        "half_of_the_log_variance_forgotten",
        "wrong-scale|missing-derivative",
        "dlog_var = dz * noise * 0.5 * sigma - 0.5 / n",
        "dlog_var = dz * noise * sigma - 0.5 / n",
    ),
    wrong(
        "log_variance_taken_for_the_deviation",
        "missing-derivative|different-function",
        "dlog_var = dz * noise * 0.5 * sigma - 0.5 / n",
        "dlog_var = dz * noise - 0.5 / n",
    ),
    wrong(
        "divergence_does_not_reach_the_variance",
        "missing-path",
        "dlog_var = dz * noise * 0.5 * sigma - 0.5 / n",
        "dlog_var = dz * noise * 0.5 * sigma",
    ),
    wrong(
        "slope_of_the_slope_forgotten",
        "missing-path",
        "dt = dz_out @ u_hat - 2 * t * dslope",
        "dt = dz_out @ u_hat",
    ),
    wrong(
        "determinant_not_divided_by_itself",
        "missing-derivative",
        "ddet = dlog_det / det",
        "ddet = dlog_det",
    ),
    wrong(
        "direction_learns_through_the_tanh_only",
        "missing-path",
        "dw = z.T @ da + dinner * u_hat + dw_hat",
        "dw = z.T @ da + dw_hat",
    ),
    wrong(
        "identity_of_the_flow_forgotten",
        "missing-path",
        "dz = dz_out + np.outer(da, w)",
        "dz = np.outer(da, w)",
    ),
    wrong(
        "norm_not_squared_in_both",
        "different-function",
        "return u + stretch * w / (w @ w), along, stretch",
        "return u + stretch * w / np.sqrt(w @ w), along, stretch",
        "norm = w @ w",
        "norm = np.sqrt(w @ w)",
        "dw = stretch / norm * du_hat - 2 * stretch * (du_hat @ w) / norm**2 * w + dalong * u",
        "dw = stretch / norm * du_hat - stretch * (du_hat @ w) / norm**3 * w + dalong * u",
    ),
    wrong(
        "constraint_on_the_flow_not_differentiated",
        "missing-path|missing-derivative",
        "    dw_hat, du = constrain_backward(du_hat, w, u, along, stretch)\n",
        "    dw_hat, du = 0.0, du_hat\n",
    ),
    wrong(
        "variance_route_to_the_encoder_forgotten",
        "missing-path",
        'dh = dmean @ p["Wm"].T + dlog_var @ p["Wv"].T',
        'dh = dmean @ p["Wm"].T',
    ),
]

TOGETHER = [
    ("determinant_added_instead_of_taken_off", "half_of_the_log_variance_forgotten"),
    ("constraint_on_the_flow_not_differentiated", "divergence_does_not_reach_the_variance"),
    ("slope_of_the_slope_forgotten", "log_variance_taken_for_the_deviation"),
    ("direction_learns_through_the_tanh_only", "variance_route_to_the_encoder_forgotten"),
]

RIGHT = [
    right(
        "heads_of_the_encoder_stacked",
        '    g["Wm"], g["bm"] = h.T @ dmean, dmean.sum(axis=0)\n'
        '    g["Wv"], g["bv"] = h.T @ dlog_var, dlog_var.sum(axis=0)\n'
        '    dh = dmean @ p["Wm"].T + dlog_var @ p["Wv"].T\n',
        "    both = np.hstack([dmean, dlog_var])\n"
        '    g["Wm"], g["Wv"] = np.split(h.T @ both, 2, axis=1)\n'
        '    g["bm"], g["bv"] = np.split(both.sum(axis=0), 2)\n'
        '    dh = both @ np.hstack([p["Wm"], p["Wv"]]).T\n',
        "dt = dz_out @ u_hat - 2 * t * dslope\n    da = dt * slope\n",
        "da = slope * (dz_out @ u_hat) - 2 * t * slope * dslope\n",
    ),
]
