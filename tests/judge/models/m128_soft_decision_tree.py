"""A soft decision tree of depth three: inner nodes route by sigmoids, leaves hold logits, the routing is balanced."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the batch's statistics couple the samples


def reference(params, x, y):
    x = (x - x.mean(dim=0)) / torch.sqrt(x.var(dim=0, unbiased=False) + 1e-5)
    steep = F.softplus(params["rho"])
    z = steep * (x @ params["W"] + params["b"])
    to_left, to_right = torch.zeros(8, 7, dtype=z.dtype), torch.zeros(8, 7, dtype=z.dtype)
    for leaf in range(8):
        node = leaf + 7
        while node:
            parent = (node - 1) // 2
            (to_left if node % 2 else to_right)[leaf, parent] = 1.0
            node = parent
    log_path = F.logsigmoid(z) @ to_left.T + F.logsigmoid(-z) @ to_right.T
    log_leaf = F.log_softmax(params["Q"], dim=1)
    log_mixture = torch.logsumexp(log_path[:, :, None] + log_leaf, dim=1)
    left_rate = torch.sigmoid(z).mean(dim=0)
    balance = F.binary_cross_entropy(left_rate, torch.full_like(left_rate, 0.5), reduction="sum")
    return {"likelihood": F.nll_loss(log_mixture, y), "balance": 0.4 * balance}


def standardise(x):
    centred = x - x.mean(axis=0)
    return centred / np.sqrt(np.mean(centred**2, axis=0) + 1e-5)


def leaf_softmax(Q):
    e = np.exp(Q - Q.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def walk_down(p, depth):
    """The probability of reaching each node, level by level; children lie side by side."""
    reach = [np.ones((len(p), 1))]
    for level in range(depth):
        go_left = p[:, 2**level - 1 : 2 ** (level + 1) - 1]
        below = np.empty((len(p), 2 ** (level + 1)))
        below[:, 0::2] = reach[level] * go_left
        below[:, 1::2] = reach[level] * (1 - go_left)
        reach.append(below)
    return reach


def walk_up(dreach, p, reach, depth):
    dp = np.zeros_like(p)
    for level in reversed(range(depth)):
        nodes = slice(2**level - 1, 2 ** (level + 1) - 1)
        from_left, from_right = dreach[:, 0::2], dreach[:, 1::2]
        dp[:, nodes] = reach[level] * (from_left - from_right)
        dreach = p[:, nodes] * from_left + (1 - p[:, nodes]) * from_right
    return dp


def candidate(params, x, y, strength=0.4, depth=3):
    W, b, rho, Q = params["W"], params["b"], params["rho"], params["Q"]
    n = len(x)
    xs = standardise(x)
    steep = np.log1p(np.exp(rho))
    a = xs @ W + b
    p = 1 / (1 + np.exp(-steep * a))
    reach = walk_down(p, depth)
    arrive = reach[-1]
    q = leaf_softmax(Q)
    told = q[:, y].T  # what each leaf gives to the right class
    mixture = np.sum(arrive * told, axis=1)
    left_rate = p.mean(axis=0)
    balance = -0.5 * np.sum(np.log(left_rate) + np.log(1 - left_rate))
    loss = -np.mean(np.log(mixture)) + strength * balance

    dmixture = -1 / (n * mixture)
    # the leaves
    post = arrive * told / mixture[:, None]
    hot = np.eye(Q.shape[1])[y]
    dQ = np.zeros_like(Q)
    for leaf in range(len(Q)):
        dQ[leaf] = post[:, leaf] @ (q[leaf] - hot) / n
    # the routing
    darrive = dmixture[:, None] * told
    dp = walk_up(darrive, p, reach, depth)
    dleft_rate = strength * 0.5 * (1 / (1 - left_rate) - 1 / left_rate)
    dp += dleft_rate / n
    ds = dp * p * (1 - p)
    da = ds * steep
    dsteep = np.sum(ds * a)
    drho = dsteep / (1 + np.exp(-rho))
    dW = xs.T @ da
    db = da.sum(axis=0)
    return loss, {"W": dW, "b": db, "rho": drho, "Q": dQ}


def problem(rng):
    params = {
        "W": rng.normal(size=(5, 7)) * 0.6,
        "b": rng.normal(size=7) * 0.5,
        "rho": np.array(0.9 + rng.normal() * 0.1),
        "Q": rng.normal(size=(8, 4)) * 1.1,
    }
    x = rng.normal(size=(9, 5)) * np.array([1.0, 2.5, 0.6, 1.7, 3.0]) + np.array([0.5, -1.0, 2.0, 0.0, 1.0])
    return params, (x, rng.integers(0, 4, size=9))


WRONG = [
    wrong(
        "softplus_slope_forgotten",
        "missing-derivative|wrong-scale",
        "drho = dsteep / (1 + np.exp(-rho))",
        "drho = dsteep",
    ),
    wrong(
        "temperature_not_on_the_way_to_the_weights",
        "missing-derivative|wrong-scale|missing-path",
        "da = ds * steep",
        "da = ds",
    ),
    wrong(
        "temperature_against_the_scaled_activation",
        "wrong-operand|wrong-scale|extra-derivative",
        "dsteep = np.sum(ds * a)",
        "dsteep = np.sum(ds * steep * a)",
    ),
    wrong(
        "temperature_sees_no_offset",
        "missing-path|wrong-operand",
        "dsteep = np.sum(ds * a)",
        "dsteep = np.sum(ds * (xs @ W))",
    ),
    wrong(
        "right_branch_counts_like_the_left",
        "wrong-sign",
        "reach[level] * (from_left - from_right)",
        "reach[level] * (from_left + from_right)",
    ),
    wrong(
        "right_branch_forgotten",
        "missing-path",
        "reach[level] * (from_left - from_right)",
        "reach[level] * from_left",
    ),
    wrong(
        "children_halved_instead_of_interleaved",
        "wrong-operand|wrong-axis",
        "from_left, from_right = dreach[:, 0::2], dreach[:, 1::2]",
        "from_left, from_right = np.split(dreach, 2, axis=1)",
    ),
    wrong(
        "parents_get_the_plain_sum",
        "missing-derivative|missing-path|wrong-operand",
        "dreach = p[:, nodes] * from_left + (1 - p[:, nodes]) * from_right",
        "dreach = from_left + from_right",
    ),
    wrong(
        "probability_of_arrival_forgotten",
        "missing-derivative|wrong-operand",
        "dp[:, nodes] = reach[level] * (from_left - from_right)",
        "dp[:, nodes] = from_left - from_right",
    ),
    wrong(
        "prior_for_the_posterior_at_the_leaves",
        "wrong-operand|missing-derivative",
        "dQ[leaf] = post[:, leaf] @",
        "dQ[leaf] = arrive[:, leaf] @",
    ),
    wrong(
        "leaves_divided_by_what_reaches_them",
        "wrong-scale|wrong-reduction|wrong-operand",
        "post[:, leaf] @ (q[leaf] - hot) / n",
        "post[:, leaf] @ (q[leaf] - hot) / post[:, leaf].sum()",
    ),
    wrong(
        "balance_pull_not_shared_among_the_samples",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "dp += dleft_rate / n",
        "dp += dleft_rate",
    ),
    wrong(
        "half_of_the_balance_cross_entropy",
        "missing-path|different-function",
        "strength * 0.5 * (1 / (1 - left_rate) - 1 / left_rate)",
        "strength * -0.5 / left_rate",
    ),
    wrong(
        "balance_of_each_sample_in_both",
        "different-function|wrong-reduction|wrong-axis|wrong-operand",
        "    balance = -0.5 * np.sum(np.log(left_rate) + np.log(1 - left_rate))\n",
        "    balance = -0.5 * np.sum(np.log(p) + np.log(1 - p)) / n\n",
        "0.5 * (1 / (1 - left_rate) - 1 / left_rate)",
        "0.5 * (1 / (1 - p) - 1 / p)",
    ),
    wrong(
        "log_inside_the_mixture_in_both",
        "different-function",
        "    loss = -np.mean(np.log(mixture)) + strength * balance\n",
        "    loss = -np.mean(np.sum(arrive * np.log(told), axis=1)) + strength * balance\n",
        "    post = arrive * told / mixture[:, None]\n",
        "    post = arrive\n",
        "    darrive = dmixture[:, None] * told\n",
        "    darrive = -np.log(told) / n\n",
    ),
    wrong(
        "balance_without_its_half_in_cost",
        "wrong-loss",
        "balance = -0.5 * np.sum(",
        "balance = -np.sum(",
    ),
]

TOGETHER = [
    ("softplus_slope_forgotten", "right_branch_counts_like_the_left"),
    ("temperature_not_on_the_way_to_the_weights", "prior_for_the_posterior_at_the_leaves"),
    ("leaves_divided_by_what_reaches_them", "balance_pull_not_shared_among_the_samples"),
    ("parents_get_the_plain_sum", "temperature_sees_no_offset"),
    ("half_of_the_balance_cross_entropy", "right_branch_forgotten"),
    ("children_halved_instead_of_interleaved", "leaves_divided_by_what_reaches_them"),
    (
        "temperature_against_the_scaled_activation",
        "probability_of_arrival_forgotten",
        "prior_for_the_posterior_at_the_leaves",
    ),
    (
        "softplus_slope_forgotten",
        "temperature_not_on_the_way_to_the_weights",
        "balance_pull_not_shared_among_the_samples",
    ),
]

RIGHT = [
    right(
        "subtrees_by_their_posteriors",
        "    dp = np.zeros_like(p)\n    for level in reversed(range(depth)):\n",
        "    dp = np.zeros_like(p)\n    mass = dreach * reach[-1]\n    for level in reversed(range(depth)):\n",
        "        from_left, from_right = dreach[:, 0::2], dreach[:, 1::2]\n"
        "        dp[:, nodes] = reach[level] * (from_left - from_right)\n"
        "        dreach = p[:, nodes] * from_left + (1 - p[:, nodes]) * from_right\n",
        "        left, right = mass[:, 0::2], mass[:, 1::2]\n"
        "        dp[:, nodes] = left / p[:, nodes] - right / (1 - p[:, nodes])\n"
        "        mass = left + right\n",
    ),
    right(
        "leaves_through_the_whole_softmax_jacobian",
        "        dQ[leaf] = post[:, leaf] @ (q[leaf] - hot) / n\n",
        "        dq = np.zeros(Q.shape[1])\n"
        "        np.add.at(dq, y, dmixture * arrive[:, leaf])\n"
        "        dQ[leaf] = (np.diag(q[leaf]) - np.outer(q[leaf], q[leaf])) @ dq\n",
    ),
    right(
        "temperature_folded_into_the_weights",
        "    da = ds * steep\n    dsteep = np.sum(ds * a)\n",
        "    dW_scaled, db_scaled = xs.T @ ds, ds.sum(axis=0)\n"
        "    dsteep = np.vdot(dW_scaled, W) + np.vdot(db_scaled, b)\n",
        "    dW = xs.T @ da\n    db = da.sum(axis=0)\n",
        "    dW, db = steep * dW_scaled, steep * db_scaled\n",
        "drho = dsteep / (1 + np.exp(-rho))",
        "drho = dsteep * (1 - np.exp(-steep))",
    ),
]
