"""A nested logit of travel choices: inclusive values and scales of the nests, absent alternatives, weighted people."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, traits, available, choice, weights):
    nest = torch.tensor([0, 1, 1, 0, 2, 1, 2])
    utility = torch.einsum("njf,f->nj", x, params["beta"]) + F.pad(params["asc"], (1, 0))
    scale = torch.sigmoid(params["theta"])
    scaled = (utility / scale[nest]).masked_fill(available == 0, float("-inf"))
    inclusive = torch.stack([torch.logsumexp(scaled[:, nest == k], dim=1) for k in range(3)], dim=1)
    upper = F.log_softmax(F.linear(traits, params["Gamma"]) + scale * inclusive, dim=1)
    log_p = scaled - inclusive[:, nest] + upper[:, nest]
    chosen = log_p.gather(1, choice[:, None]).squeeze(1)
    return -(weights * chosen).sum() / weights.sum()


def within_nest(v, present):
    """The probabilities of a nest's alternatives given the nest, and its inclusive value."""
    top = np.max(v, axis=1, keepdims=True)
    e = np.exp(v - top) * present
    total = e.sum(axis=1, keepdims=True)
    return e / total, (top + np.log(total))[:, 0]


def softmax(a):
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def candidate(params, x, traits, available, choice, weights):
    nests = [[0, 3], [1, 2, 5], [4, 6]]
    beta, asc, theta, Gamma = params["beta"], params["asc"], params["theta"], params["Gamma"]
    n, alternatives = available.shape
    nest_of = np.zeros(alternatives, dtype=int)
    for k, members in enumerate(nests):
        nest_of[members] = k

    lam = 1 / (1 + np.exp(-theta))
    V = x @ beta
    V[:, 1:] += asc
    P_within = np.zeros((n, alternatives))
    IV = np.zeros((n, len(nests)))
    for k, members in enumerate(nests):
        P_within[:, members], IV[:, k] = within_nest(V[:, members] / lam[k], available[:, members])
    P_nest = softmax(traits @ Gamma.T + lam * IV)
    P = P_within * P_nest[:, nest_of]
    logP = np.log(P[np.arange(n), choice])
    loss = -np.sum(weights * logP) / np.sum(weights)

    omega = (weights / weights.sum())[:, None]
    chosen = np.eye(alternatives)[choice]
    chosen_nest = np.eye(len(nests))[nest_of[choice]]
    dW = omega * (P_nest - chosen_nest)
    dlam = np.sum(dW * IV, axis=0)
    dIV = dW * lam
    dV = np.zeros_like(V)
    for k, members in enumerate(nests):
        inside = P_within[:, members]
        dscaled = omega * (chosen_nest[:, [k]] * inside - chosen[:, members])
        dscaled += dIV[:, [k]] * inside
        dV[:, members] = dscaled / lam[k]
        dlam[k] -= np.sum(dscaled * V[:, members]) / lam[k] ** 2
    grads = {
        "beta": np.einsum("nj,njf->f", dV, x),
        "asc": dV[:, 1:].sum(axis=0),
        "theta": dlam * lam * (1 - lam),
        "Gamma": dW.T @ traits,
    }
    return loss, grads


def problem(rng):
    params = {
        "beta": rng.normal(size=2) * 0.6 - 0.3,
        "asc": rng.normal(size=6) * 0.5,
        "theta": rng.normal(size=3) * 0.4 + 0.3,
        "Gamma": rng.normal(size=(3, 4)) * 0.5,
    }
    available = np.ones((8, 7), dtype=int)
    available[[0, 1, 2, 4, 5, 6, 7], [1, 3, 4, 5, 2, 0, 6]] = 0
    available[[3, 5, 7], [2, 6, 5]] = 0
    choice = np.array([4, 0, 5, 3, 1, 4, 6, 2])
    x = rng.normal(size=(8, 7, 2))
    return params, (x, rng.normal(size=(8, 4)), available, choice, rng.uniform(0.4, 2.5, size=8))


WRONG = [
    wrong(
        "inclusive_value_not_scaled_in_both",
        "different-function|wrong-operand|missing-path",
        "traits @ Gamma.T + lam * IV",
        "traits @ Gamma.T + IV",
        "dlam = np.sum(dW * IV, axis=0)\n    dIV = dW * lam\n",
        "dlam = np.zeros_like(lam)\n    dIV = dW\n",
    ),
    wrong(
        "utilities_not_scaled_inside_the_nests_in_both",
        "different-function|missing-derivative|missing-path|wrong-operand",
        "within_nest(V[:, members] / lam[k], ",
        "within_nest(V[:, members], ",
        "        dV[:, members] = dscaled / lam[k]\n        dlam[k] -= np.sum(dscaled * V[:, members]) / lam[k] ** 2\n",
        "        dV[:, members] = dscaled\n",
    ),
    wrong(
        "absent_alternatives_counted_in_both",
        "different-function|wrong-operand",
        "e = np.exp(v - top) * present",
        "e = np.exp(v - top)",
    ),
    wrong(
        "base_not_the_first_column", "wrong-operand|shifted-in-time", "dV[:, 1:].sum(axis=0)", "dV[:, :-1].sum(axis=0)"
    ),
    wrong(
        "scale_inside_the_nest_overwrites",
        "overwritten|missing-path",
        "dlam[k] -= np.sum(dscaled * V[:, members])",
        "dlam[k] = -np.sum(dscaled * V[:, members])",
    ),
    wrong(
        "quotient_rule_without_the_square",
        "different-function|missing-derivative|derivative-at-wrong-point|wrong-operand",
        "V[:, members]) / lam[k] ** 2",
        "V[:, members]) / lam[k]",
    ),
    wrong("scale_slope_forgotten", "missing-derivative", "dlam * lam * (1 - lam)", "dlam"),
    wrong(
        "utility_gradient_not_divided_by_the_scale",
        "missing-derivative|wrong-operand",
        "dV[:, members] = dscaled / lam[k]",
        "dV[:, members] = dscaled",
    ),
    wrong(
        "inclusive_value_not_followed_down",
        "missing-path",
        "        dscaled += dIV[:, [k]] * inside\n",
        "",
    ),
    wrong(
        "every_nest_treated_as_the_chosen_one",
        "different-function|wrong-operand|missing-derivative",
        "omega * (chosen_nest[:, [k]] * inside - chosen[:, members])",
        "omega * (inside - chosen[:, members])",
    ),
    wrong(
        "plain_logit_gradient_of_the_utilities",
        "different-function|wrong-operand",
        "dV[:, members] = dscaled / lam[k]",
        "dV[:, members] = omega * (P - chosen)[:, members]",
    ),
    wrong(
        "weights_not_in_the_gradient",
        "wrong-operand|missing-derivative|different-function|wrong-reduction",
        "omega = (weights / weights.sum())[:, None]",
        "omega = np.full((n, 1), 1 / n)",
    ),
    wrong(
        "weighted_mean_by_the_number_of_people",
        "wrong-scale|wrong-reduction",
        "omega = (weights / weights.sum())[:, None]",
        "omega = (weights / n)[:, None]",
    ),
    wrong(
        "choices_numbered_from_one",
        "wrong-operand|shifted-in-time",
        "chosen = np.eye(alternatives)[choice]",
        "chosen = np.eye(alternatives)[choice - 1]",
    ),
    wrong(
        "nest_coefficients_from_the_inclusive_gradient",
        "wrong-operand|extra-derivative",
        "dW.T @ traits",
        "dIV.T @ traits",
    ),
    wrong(
        "likelihood_given_the_nest_in_cost",
        "wrong-loss",
        "np.log(P[np.arange(n), choice])",
        "np.log(P_within[np.arange(n), choice])",
    ),
]

TOGETHER = [
    ("scale_inside_the_nest_overwrites", "base_not_the_first_column"),
    ("scale_slope_forgotten", "quotient_rule_without_the_square"),
    ("inclusive_value_not_followed_down", "scale_slope_forgotten"),
    ("weighted_mean_by_the_number_of_people", "utility_gradient_not_divided_by_the_scale"),
    ("absent_alternatives_counted_in_both", "nest_coefficients_from_the_inclusive_gradient"),
    ("choices_numbered_from_one", "every_nest_treated_as_the_chosen_one"),
    ("weights_not_in_the_gradient", "base_not_the_first_column", "quotient_rule_without_the_square"),
    (
        "nest_coefficients_from_the_inclusive_gradient",
        "scale_slope_forgotten",
        "utility_gradient_not_divided_by_the_scale",
    ),
]

RIGHT = [
    right(
        "from_the_joint_probabilities",
        "    dV = np.zeros_like(V)\n"
        "    for k, members in enumerate(nests):\n"
        "        inside = P_within[:, members]\n"
        "        dscaled = omega * (chosen_nest[:, [k]] * inside - chosen[:, members])\n"
        "        dscaled += dIV[:, [k]] * inside\n"
        "        dV[:, members] = dscaled / lam[k]\n"
        "        dlam[k] -= np.sum(dscaled * V[:, members]) / lam[k] ** 2\n",
        "    stretch = lam[nest_of]\n"
        "    conditional = P_within * chosen_nest[:, nest_of]\n"
        "    dV = omega * (P - conditional + (conditional - chosen) / stretch)\n"
        "    np.subtract.at(dlam, nest_of, np.sum(dV * V, axis=0) / stretch)\n",
        "    dIV = dW * lam\n",
        "",
    ),
    right(
        "logarithms_instead_of_probabilities",
        "    P_nest = softmax(traits @ Gamma.T + lam * IV)\n"
        "    P = P_within * P_nest[:, nest_of]\n"
        "    logP = np.log(P[np.arange(n), choice])\n",
        "    W = traits @ Gamma.T + lam * IV\n"
        "    P_nest = softmax(W)\n"
        "    mine = nest_of[choice]\n"
        "    rows = np.arange(n)\n"
        "    logP = V[rows, choice] / lam[mine] - IV[rows, mine]\n"
        "    logP += W[rows, mine] - np.log(np.exp(W).sum(axis=1))\n",
        "    chosen_nest = np.eye(len(nests))[nest_of[choice]]\n    dW = omega * (P_nest - chosen_nest)\n",
        "    dW = omega * P_nest\n    dW[rows, mine] -= omega[:, 0]\n    chosen_nest = np.eye(len(nests))[mine]\n",
    ),
    right(
        "one_person_after_the_other",
        "    dW = omega * (P_nest - chosen_nest)\n",
        "    dW = np.zeros((n, len(nests)))\n"
        "    for person in range(n):\n"
        "        for k in range(len(nests)):\n"
        "            hit = 1.0 if nest_of[choice[person]] == k else 0.0\n"
        "            dW[person, k] = omega[person, 0] * (P_nest[person, k] - hit)\n",
        '        "beta": np.einsum("nj,njf->f", dV, x),\n',
        '        "beta": dV.reshape(-1) @ x.reshape(-1, len(beta)),\n',
    ),
]
