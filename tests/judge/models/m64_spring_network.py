"""The energy of a hanging net: springs of several kinds, weights, a soft floor and soft contact between all nodes."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the springs couple all nodes


def reference(params, pinned, ends, kind, mass):
    place = torch.cat([params["free"], pinned])
    span = place[ends[:, 1]] - place[ends[:, 0]]
    stretch = torch.linalg.vector_norm(span, dim=1) - F.softplus(params["slack"])[kind]
    elastic = 0.5 * (params["log_stiffness"].exp()[kind] * stretch**2).sum()
    weight = 9.81 * torch.dot(mass, params["free"][:, 2])
    floor = 3.0 * F.relu(-0.5 - params["free"][:, 2]).pow(3).sum()
    contact = 2.0 * F.relu(1.1 - torch.pdist(place)).square().sum()
    return {"elastic": elastic, "weight": weight, "floor": floor, "contact": contact}


def candidate(params, pinned, ends, kind, mass):
    free, slack, log_stiffness = params["free"], params["slack"], params["log_stiffness"]
    g, stiff_floor, stiff_contact, radius = 9.81, 3.0, 2.0, 1.1
    r = np.vstack([free, pinned])
    rest = np.log(1 + np.exp(slack))
    stiffness = np.exp(log_stiffness)

    start, stop = ends.T
    span = r[stop] - r[start]
    length = np.sqrt(np.einsum("sd,sd->s", span, span))
    stretch = length - rest[kind]
    elastic = 0.5 * np.sum(stiffness[kind] * stretch**2)
    weight = g * np.sum(mass * free[:, 2])
    depth = np.maximum(-0.5 - free[:, 2], 0)
    between = r[:, None] - r[None, :]
    distance = np.sqrt((between**2).sum(axis=2)) + np.eye(len(r))
    overlap = np.maximum(radius - distance, 0) * (1 - np.eye(len(r)))
    loss = elastic + weight + stiff_floor * np.sum(depth**3) + stiff_contact * np.sum(overlap**2) / 2

    # minus the forces on all nodes; those on pinned nodes are dropped
    dr = np.zeros_like(r)
    tension = stiffness[kind] * stretch
    pull = (tension / length)[:, None] * span
    np.add.at(dr, stop, pull)
    np.subtract.at(dr, start, pull)
    push = -2 * stiff_contact * overlap / distance
    dr += np.einsum("ij,ijd->id", push, between)
    dfree = dr[: len(free)].copy()
    dfree[:, 2] += g * mass
    dfree[:, 2] -= 3 * stiff_floor * depth**2

    drest = np.zeros_like(rest)
    np.add.at(drest, kind, -tension)
    dstiffness = np.bincount(kind, weights=0.5 * stretch**2, minlength=len(stiffness))
    return loss, {
        "free": dfree,
        "slack": drest * (1 - np.exp(-rest)),
        "log_stiffness": dstiffness * stiffness,
    }


def problem(rng):
    free = np.array(
        [[0.1, 0.3, -0.2], [1.0, -0.2, -0.7], [2.1, 0.4, -0.9], [0.4, 1.2, -0.8], [1.3, 0.8, -0.3], [2.2, 1.3, -0.6]]
    )
    params = {
        "free": free + 0.15 * rng.normal(size=(6, 3)),
        "slack": np.array([-0.4, 0.1, 0.5, -0.8]),
        "log_stiffness": np.array([1.2, 0.6, 0.9, 1.5]),
    }
    pinned = np.array([[-0.6, -0.5, 0.4], [2.9, 1.9, 0.5]])
    ends = np.array([[6, 0], [0, 1], [1, 2], [0, 3], [3, 4], [4, 5], [5, 7], [1, 4], [2, 5], [0, 4], [2, 7]])
    kind = np.array([0, 1, 1, 2, 1, 2, 0, 3, 2, 3, 0])
    return params, (pinned, ends, kind, rng.uniform(0.1, 0.6, size=6))


WRONG = [
    wrong(
        "reaction_forgotten",
        "missing-path",
        "    np.subtract.at(dr, start, pull)\n",
        "",
    ),
    wrong("springs_at_a_node_overwrite", "overwritten", "np.add.at(dr, stop, pull)", "dr[stop] += pull"),
    wrong(
        "direction_not_normalised",
        "missing-derivative|different-function",
        "pull = (tension / length)[:, None] * span",
        "pull = tension[:, None] * span",
    ),
    wrong(
        "stretch_for_the_tension",
        "missing-derivative|wrong-operand",
        "pull = (tension / length)[:, None] * span",
        "pull = (stretch / length)[:, None] * span",
    ),
    wrong("weight_upwards", "wrong-sign|wrong-term-weight", "dfree[:, 2] += g * mass", "dfree[:, 2] -= g * mass"),
    wrong(
        "weight_along_another_axis", "wrong-axis|wrong-operand", "dfree[:, 2] += g * mass", "dfree[:, 1] += g * mass"
    ),
    wrong("masses_forgotten", "missing-derivative|wrong-operand", "dfree[:, 2] += g * mass", "dfree[:, 2] += g"),
    wrong(
        "floor_forgotten",
        "wrong-term-weight|missing-path",
        "    dfree[:, 2] -= 3 * stiff_floor * depth**2\n",
        "",
    ),
    wrong(
        "pairs_counted_twice",
        "wrong-term-weight|wrong-scale",
        "push = -2 * stiff_contact",
        "push = -4 * stiff_contact",
    ),
    wrong(
        "contact_of_one_partner_only",
        "missing-path",
        'np.einsum("ij,ijd->id", push, between)',
        'np.einsum("ij,ijd->id", np.triu(push), between)',
    ),
    wrong(
        "contact_not_normalised",
        "missing-derivative|different-function",
        "stiff_contact * overlap / distance",
        "stiff_contact * overlap",
    ),
    wrong("rest_length_sign", "wrong-sign", "np.add.at(drest, kind, -tension)", "np.add.at(drest, kind, tension)"),
    wrong(
        "rest_length_of_the_last_spring",
        "overwritten",
        "np.add.at(drest, kind, -tension)",
        "drest[kind] = -tension",
    ),
    wrong("slack_not_through_the_softplus", "missing-derivative", "drest * (1 - np.exp(-rest))", "drest"),
    wrong(
        "softplus_slope_at_the_rest_length",
        "derivative-at-wrong-point",
        "drest * (1 - np.exp(-rest))",
        "drest / (1 + np.exp(-rest))",
    ),
    wrong("stiffness_not_through_its_logarithm", "missing-derivative", "dstiffness * stiffness", "dstiffness"),
    wrong(
        "stretch_not_squared", "different-function|wrong-operand", "weights=0.5 * stretch**2", "weights=0.5 * stretch"
    ),
    wrong("half_forgotten", "wrong-scale", "weights=0.5 * stretch**2", "weights=stretch**2"),
    wrong(
        "squared_floor_in_both",
        "different-function",
        "np.sum(depth**3)",
        "np.sum(depth**2)",
        "3 * stiff_floor * depth**2",
        "2 * stiff_floor * depth",
    ),
    wrong("contact_of_all_ordered_pairs_in_cost", "wrong-loss", "np.sum(overlap**2) / 2", "np.sum(overlap**2)"),
]

TOGETHER = [
    ("reaction_forgotten", "weight_upwards"),
    ("springs_at_a_node_overwrite", "stiffness_not_through_its_logarithm"),
    ("direction_not_normalised", "rest_length_sign"),
    ("pairs_counted_twice", "half_forgotten"),
    ("floor_forgotten", "slack_not_through_the_softplus"),
    ("contact_of_one_partner_only", "rest_length_of_the_last_spring", "stretch_not_squared"),
    ("stretch_for_the_tension", "masses_forgotten", "softplus_slope_at_the_rest_length"),
]

RIGHT = [
    right(
        "spring_by_spring",
        "    np.add.at(dr, stop, pull)\n    np.subtract.at(dr, start, pull)\n",
        "    for (i, j), force in zip(ends, pull):\n        dr[i] -= force\n        dr[j] += force\n",
    ),
    right(
        "incidence_matrix",
        "    np.add.at(dr, stop, pull)\n    np.subtract.at(dr, start, pull)\n",
        "    node = np.arange(len(r))\n"
        "    incidence = (stop[:, None] == node).astype(float) - (start[:, None] == node)\n"
        "    dr = dr + incidence.T @ pull\n",
    ),
    right(
        "each_pair_once",
        '    dr += np.einsum("ij,ijd->id", push, between)\n',
        "    for i in range(len(r)):\n        for j in range(i):\n"
        "            dr[i] += push[i, j] * between[i, j]\n            dr[j] -= push[i, j] * between[i, j]\n",
    ),
    right(
        "sigmoid_of_the_slack",
        "drest * (1 - np.exp(-rest))",
        "drest / (1 + np.exp(-slack))",
    ),
]
