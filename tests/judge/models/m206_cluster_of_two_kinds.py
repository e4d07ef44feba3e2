"""The energy of a cluster of two kinds of atoms in a periodic box: shifted Lennard-Jones pairs, bent angles."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

BATCH_AXIS = None


def reference(params, kinds, triples, box=5.5, cut=2.6):
    pos, sigma = params["pos"], params["sigma"]
    eps = torch.exp(params["log_eps"])
    n = len(pos)
    i, j = torch.triu_indices(n, n, 1)
    d = pos[i] - pos[j]
    d = d - box * torch.round(d / box)
    r = d.norm(dim=1)
    s = (sigma[kinds[i]] + sigma[kinds[j]]) / 2
    e = torch.sqrt(eps[kinds[i]] * eps[kinds[j]])
    pair = 4 * e * ((s / r) ** 12 - (s / r) ** 6 - (s / cut) ** 12 + (s / cut) ** 6)
    a = pos[triples[:, 0]] - pos[triples[:, 1]]
    b = pos[triples[:, 2]] - pos[triples[:, 1]]
    cos = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    bend = 0.5 * torch.exp(params["log_k"]) * (cos - params["cos0"]) ** 2
    return {"pairs": pair[r < cut].sum(), "angles": bend.sum()}


def lennard_jones(pos, kinds, eps, sigma, box, cut):
    energy = 0.0
    dpos, deps, dsigma = np.zeros_like(pos), np.zeros_like(eps), np.zeros_like(sigma)
    n = len(pos)
    for i in range(n - 1):
        for j in range(i + 1, n):
            d = pos[i] - pos[j]
            d = d - box * np.round(d / box)
            r = np.sqrt(np.sum(d**2))
            if r >= cut:
                continue
            ki, kj = kinds[i], kinds[j]
            s = 0.5 * (sigma[ki] + sigma[kj])
            e = np.sqrt(eps[ki] * eps[kj])
            s6, c6 = (s / r) ** 6, (s / cut) ** 6
            well = s6**2 - s6 - c6**2 + c6
            energy += 4 * e * well
            slope = 24 * e * (s6 - 2 * s6**2) / r
            push = slope * d / r
            dpos[i] += push
            dpos[j] -= push
            # mixing rules
            deps[ki] += 0.5 * 4 * well * e / eps[ki]
            deps[kj] += 0.5 * 4 * well * e / eps[kj]
            ds = 24 * e * (2 * s6**2 - s6 - 2 * c6**2 + c6) / s
            dsigma[ki] += 0.5 * ds
            dsigma[kj] += 0.5 * ds
    return energy, dpos, deps, dsigma


def angles(pos, triples, k, cos0):
    energy = dk = dcos0 = 0.0
    dpos = np.zeros_like(pos)
    for left, middle, far in triples:
        a, b = pos[left] - pos[middle], pos[far] - pos[middle]
        na, nb = np.linalg.norm(a), np.linalg.norm(b)
        cos = np.dot(a, b) / (na * nb)
        off = cos - cos0
        energy += 0.5 * k * off**2
        dcos = k * off
        da = dcos * (b / (na * nb) - cos * a / na**2)
        db = dcos * (a / (na * nb) - cos * b / nb**2)
        dpos[left] += da
        dpos[far] += db
        dpos[middle] -= da + db
        dk += 0.5 * off**2
        dcos0 -= k * off
    return energy, dpos, dk, dcos0


def candidate(params, kinds, triples, box=5.5, cut=2.6):
    pos, sigma = params["pos"], params["sigma"]
    eps, k = np.exp(params["log_eps"]), np.exp(params["log_k"])
    pair_energy, pair_dpos, deps, dsigma = lennard_jones(pos, kinds, eps, sigma, box, cut)
    bend_energy, bend_dpos, dk, dcos0 = angles(pos, triples, k, params["cos0"])
    loss = pair_energy + bend_energy
    grads = {
        "pos": pair_dpos + bend_dpos,
        "log_eps": deps * eps,
        "sigma": dsigma,
        "log_k": np.array(dk * k),
        "cos0": np.array(dcos0),
    }
    return loss, grads


def problem(rng):
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 3.4]], dtype=float)
    params = {
        "pos": corners * 1.3 + rng.normal(size=(6, 3)) * 0.08,
        "log_eps": rng.normal(size=2) * 0.3,
        "sigma": np.array([1.0, 1.25]) + rng.normal(size=2) * 0.05,
        "log_k": np.array(rng.normal() * 0.3 + 2.0),
        "cos0": np.array(-0.45 + 0.1 * rng.normal()),
    }
    return params, (np.array([0, 1, 0, 1, 0, 1]), np.array([[0, 1, 2], [1, 2, 3], [2, 4, 1], [3, 0, 4]]))


WRONG = [
    wrong(
        "force_instead_of_gradient",
        "wrong-sign",
        "slope = 24 * e * (s6 - 2 * s6**2) / r",
        "slope = 24 * e * (2 * s6**2 - s6) / r",
    ),
    wrong(
        "force_along_the_whole_distance",
        "wrong-operand|missing-derivative",
        "push = slope * d / r",
        "push = slope * d",
    ),
    wrong(
        "attraction_and_repulsion_equally_steep",
        "different-function|wrong-operand|wrong-scale",
        "slope = 24 * e * (s6 - 2 * s6**2) / r",
        "slope = 24 * e * (s6 - s6**2) / r",
    ),
    wrong(
        "partner_feels_nothing",
        "missing-path",
        "            dpos[j] -= push\n",
        "",
    ),
    wrong(
        "partner_pushed_the_same_way",
        "wrong-sign",
        "            dpos[j] -= push\n",
        "            dpos[j] += push\n",
    ),
    wrong(
        "last_pair_overwrites",
        "overwritten",
        "            dpos[i] += push\n",
        "            dpos[i] = push\n",
    ),
    wrong(
        "nearest_image_forgotten_in_the_direction",
        "wrong-operand",
        "push = slope * d / r",
        "push = slope * (pos[i] - pos[j]) / r",
    ),
    wrong(
        "shift_at_the_cutoff_held_constant",
        "missing-path",
        "ds = 24 * e * (2 * s6**2 - s6 - 2 * c6**2 + c6) / s",
        "ds = 24 * e * (2 * s6**2 - s6) / s",
    ),
    wrong(
        "mean_of_the_diameters_forgotten",
        "wrong-scale",
        "            dsigma[ki] += 0.5 * ds\n            dsigma[kj] += 0.5 * ds\n",
        "            dsigma[ki] += ds\n            dsigma[kj] += ds\n",
    ),
    wrong(
        "depth_not_taken_through_its_exponential",
        "missing-derivative",
        '"log_eps": deps * eps,',
        '"log_eps": deps,',
    ),
    wrong(
        "lengths_of_the_arms_held_constant",
        "missing-path|diagonal-jacobian",
        "        da = dcos * (b / (na * nb) - cos * a / na**2)\n"
        "        db = dcos * (a / (na * nb) - cos * b / nb**2)\n",
        "        da = dcos * b / (na * nb)\n        db = dcos * a / (na * nb)\n",
    ),
    wrong(
        "middle_atom_feels_one_arm",
        "missing-path",
        "dpos[middle] -= da + db",
        "dpos[middle] -= da",
    ),
]

TOGETHER = [
    ("force_along_the_whole_distance", "depth_not_taken_through_its_exponential"),
    ("partner_feels_nothing", "shift_at_the_cutoff_held_constant"),
    ("mean_of_the_diameters_forgotten", "middle_atom_feels_one_arm"),
    ("nearest_image_forgotten_in_the_direction", "lengths_of_the_arms_held_constant"),
]

RIGHT = [
    right(
        "slope_over_the_squared_distance",
        "            slope = 24 * e * (s6 - 2 * s6**2) / r\n            push = slope * d / r\n",
        "            push = -24 * e * s6 * (2 * s6 - 1) / (d @ d) * d\n",
    )
]
