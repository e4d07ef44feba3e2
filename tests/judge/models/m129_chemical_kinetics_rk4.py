"""Mass-action kinetics of an enzyme whose product pairs up again: integrated by Runge-Kutta, seen by linear sensors."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None


def reference(params, y, w):
    h, k = 0.35, params["theta"].exp()
    stoichiometry = torch.tensor([[-1, 0, 1], [-1, 1, 0], [1, -1, 0], [0, 1, -2]], dtype=k.dtype)

    def derivative(c):
        return stoichiometry @ (k * torch.stack([c[0] * c[1], c[2], c[3].square()]))

    c = F.softplus(params["start"])
    seen = []
    for _ in range(y.shape[0]):
        k1 = derivative(c)
        k2 = derivative(c + h / 2 * k1)
        k3 = derivative(c + h / 2 * k2)
        k4 = derivative(c + h * k3)
        c = c + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        seen.append(F.linear(c, params["S"], params["offset"]))
    data = (w * F.mse_loss(torch.stack(seen), y, reduction="none")).sum(dim=1).mean()
    prior = 0.5 * ((params["theta"] + 0.4) / 0.7).square().sum()
    return {"data": data, "prior": prior}


def stoichiometry():
    # A + B -> C, C -> B + D, 2 D -> A
    return np.array([[-1.0, 0.0, 1.0], [-1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, -2.0]])


def collisions(c):
    A, B, C, D = c
    return np.array([A * B, C, D**2])


def rhs(c, k):
    return stoichiometry() @ (k * collisions(c))


def rhs_backward(g, c, k):
    """What a gradient with respect to dc/dt means for the concentrations and for the rate constants."""
    A, B, C, D = c
    flow = stoichiometry().T @ g
    dk = flow * collisions(c)
    v1, v2, v3 = flow * k
    dc = np.array([v1 * B, v1 * A, v2, v3 * 2 * D])
    return dc, dk


def rk4_step(c, k, h):
    k1 = rhs(c, k)
    c2 = c + 0.5 * h * k1
    k2 = rhs(c2, k)
    c3 = c + 0.5 * h * k2
    k3 = rhs(c3, k)
    c4 = c + h * k3
    k4 = rhs(c4, k)
    c_next = c + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6
    return c_next, (c, c2, c3, c4)


def rk4_step_backward(g, cache, k, h):
    c, c2, c3, c4 = cache
    g4 = g * h / 6
    dc4, dk_4 = rhs_backward(g4, c4, k)
    g3 = 2 * g * h / 6 + h * dc4
    dc3, dk_3 = rhs_backward(g3, c3, k)
    g2 = 2 * g * h / 6 + 0.5 * h * dc3
    dc2, dk_2 = rhs_backward(g2, c2, k)
    g1 = g * h / 6 + 0.5 * h * dc2
    dc1, dk_1 = rhs_backward(g1, c, k)
    return g + dc1 + dc2 + dc3 + dc4, dk_1 + dk_2 + dk_3 + dk_4


def candidate(params, y, w, h=0.35, centre=-0.4, spread=0.7):
    theta, start, S, offset = (params[name] for name in ("theta", "start", "S", "offset"))
    steps = len(y)
    k = np.exp(theta)
    c = np.log1p(np.exp(start))
    course, caches = [c], []
    residual = np.zeros_like(y)
    for t in range(steps):
        c, cache = rk4_step(c, k, h)
        course.append(c)
        caches.append(cache)
        residual[t] = S @ c + offset - y[t]
    data_cost = np.sum(w * residual**2) / steps
    prior_cost = 0.5 * np.sum((theta - centre) ** 2) / spread**2
    loss = data_cost + prior_cost

    dS, doffset = np.zeros_like(S), np.zeros_like(offset)
    dk = np.zeros_like(k)
    dc = np.zeros_like(c)
    for t in reversed(range(steps)):
        dseen = 2 * w * residual[t] / steps
        dS += np.outer(dseen, course[t + 1])
        doffset += dseen
        dc = dc + S.T @ dseen
        dc, dk_t = rk4_step_backward(dc, caches[t], k, h)
        dk += dk_t
    dtheta = dk * k + (theta - centre) / spread**2
    dstart = dc / (1 + np.exp(-start))
    return loss, {"theta": dtheta, "start": dstart, "S": dS, "offset": doffset}


def problem(rng):
    params = {
        "theta": np.array([0.3, -0.5, 0.1]) + rng.normal(size=3) * 0.2,
        "start": np.array([1.2, 0.9, -0.4, 0.3]) + rng.normal(size=4) * 0.2,
        "S": rng.normal(size=(6, 4)) * 0.8,
        "offset": rng.normal(size=6) * 0.4,
    }
    return params, (rng.normal(size=(5, 6)) * 0.8 + 0.5, rng.uniform(0.4, 2.0, size=6))


WRONG = [
    wrong(
        "rates_taken_for_their_logarithms",
        "missing-derivative",
        "dtheta = dk * k + (theta",
        "dtheta = dk + (theta",
    ),
    wrong(
        "start_not_through_softplus",
        "missing-derivative",
        "dstart = dc / (1 + np.exp(-start))",
        "dstart = dc",
    ),
    wrong(
        "all_stages_at_the_start_of_the_step",
        "wrong-operand|derivative-at-wrong-point",
        "    c, c2, c3, c4 = cache\n",
        "    c = c2 = c3 = c4 = cache[0]\n",
    ),
    wrong(
        "half_a_step_to_the_last_stage",
        "wrong-scale",
        "2 * g * h / 6 + h * dc4",
        "2 * g * h / 6 + 0.5 * h * dc4",
    ),
    wrong(
        "middle_stage_counted_once",
        "wrong-scale",
        "g2 = 2 * g * h / 6 + 0.5 * h * dc3",
        "g2 = g * h / 6 + 0.5 * h * dc3",
    ),
    wrong(
        "second_stage_unaware_of_the_third",
        "missing-path",
        "g2 = 2 * g * h / 6 + 0.5 * h * dc3",
        "g2 = 2 * g * h / 6",
    ),
    wrong(
        "stages_without_the_state_itself",
        "missing-path",
        "return g + dc1 + dc2 + dc3 + dc4, dk_1",
        "return dc1 + dc2 + dc3 + dc4, dk_1",
    ),
    wrong(
        "only_the_first_stage_reaches_the_state",
        "missing-path",
        "return g + dc1 + dc2 + dc3 + dc4, dk_1",
        "return g + dc1, dk_1",
    ),
    wrong(
        "adjoint_restarted_at_every_reading",
        "truncated-in-time|overwritten|missing-path",
        "dc = dc + S.T @ dseen",
        "dc = S.T @ dseen",
    ),
    wrong(
        "rates_from_one_step",
        "overwritten|last-step-only",
        "dk += dk_t",
        "dk = dk_t",
    ),
    wrong(
        "square_of_the_pairing_species_without_its_two",
        "missing-derivative|wrong-scale",
        "v2, v3 * 2 * D])",
        "v2, v3 * D])",
    ),
    wrong(
        "each_partner_by_itself",
        "wrong-operand",
        "np.array([v1 * B, v1 * A, v2",
        "np.array([v1 * A, v1 * B, v2",
    ),
    wrong(
        "sensors_see_the_state_before_the_step",
        "shifted-in-time|wrong-operand",
        "np.outer(dseen, course[t + 1])",
        "np.outer(dseen, course[t])",
    ),
    wrong(
        "prior_divided_by_the_spread_only",
        "wrong-term-weight|wrong-scale",
        "+ (theta - centre) / spread**2\n    dstart",
        "+ (theta - centre) / spread\n    dstart",
    ),
    wrong(
        "one_molecule_pairs_up_in_both",
        "different-function|wrong-operand|wrong-scale",
        "[0.0, 1.0, -2.0]",
        "[0.0, 1.0, -1.0]",
    ),
    wrong(
        "weights_inside_the_square_in_cost",
        "wrong-loss",
        "np.sum(w * residual**2)",
        "np.sum((w * residual) ** 2)",
    ),
]

TOGETHER = [
    ("rates_taken_for_their_logarithms", "prior_divided_by_the_spread_only"),
    ("start_not_through_softplus", "sensors_see_the_state_before_the_step"),
    ("rates_from_one_step", "square_of_the_pairing_species_without_its_two"),
    ("each_partner_by_itself", "adjoint_restarted_at_every_reading"),
    ("half_a_step_to_the_last_stage", "prior_divided_by_the_spread_only"),
    ("stages_without_the_state_itself", "second_stage_unaware_of_the_third"),
    ("sensors_see_the_state_before_the_step", "rates_from_one_step", "start_not_through_softplus"),
    ("only_the_first_stage_reaches_the_state", "rates_taken_for_their_logarithms", "each_partner_by_itself"),
]

RIGHT = [
    right(
        "through_the_full_jacobian",
        "    v1, v2, v3 = flow * k\n    dc = np.array([v1 * B, v1 * A, v2, v3 * 2 * D])\n",
        "    slopes = np.array([[B, A, 0, 0], [0, 0, 1, 0], [0, 0, 0, 2 * D]])\n"
        "    dc = (stoichiometry() @ (k[:, None] * slopes)).T @ g\n",
        "    A, B, C, D = c\n    flow",
        "    A, B, _, D = c\n    flow",
    ),
    right(
        "stages_in_a_loop",
        "    g4 = g * h / 6\n"
        "    dc4, dk_4 = rhs_backward(g4, c4, k)\n"
        "    g3 = 2 * g * h / 6 + h * dc4\n"
        "    dc3, dk_3 = rhs_backward(g3, c3, k)\n"
        "    g2 = 2 * g * h / 6 + 0.5 * h * dc3\n"
        "    dc2, dk_2 = rhs_backward(g2, c2, k)\n"
        "    g1 = g * h / 6 + 0.5 * h * dc2\n"
        "    dc1, dk_1 = rhs_backward(g1, c, k)\n"
        "    return g + dc1 + dc2 + dc3 + dc4, dk_1 + dk_2 + dk_3 + dk_4\n",
        "    total, dk, from_next = g.copy(), np.zeros_like(k), np.zeros_like(g)\n"
        "    table = [(c4, h / 6, 0.0), (c3, h / 3, h), (c2, h / 3, h / 2), (c, h / 6, h / 2)]\n"
        "    for point, weight, reach in table:\n"
        "        from_next, dk_stage = rhs_backward(weight * g + reach * from_next, point, k)\n"
        "        total += from_next\n"
        "        dk += dk_stage\n"
        "    return total, dk\n",
    ),
    right(
        "sensors_all_at_once",
        "    for t in reversed(range(steps)):\n"
        "        dseen = 2 * w * residual[t] / steps\n"
        "        dS += np.outer(dseen, course[t + 1])\n"
        "        doffset += dseen\n"
        "        dc = dc + S.T @ dseen\n",
        "    dseen = residual * w * (2 / steps)\n"
        "    dS, doffset = dseen.T @ np.array(course[1:]), np.add.reduce(dseen)\n"
        "    from_sensors = dseen @ S\n"
        "    for t in range(steps - 1, -1, -1):\n"
        "        dc = from_sensors[t] + dc\n",
        "    dS, doffset = np.zeros_like(S), np.zeros_like(offset)\n",
        "",
        "dstart = dc / (1 + np.exp(-start))",
        "dstart = dc * (1 - np.exp(-course[0]))",
    ),
]
