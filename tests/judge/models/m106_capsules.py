"""Two layers of capsules: squashed vectors, a vote of each lower one for each upper one, routing, margin loss."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, label):
    def squash(s):
        norm = torch.linalg.vector_norm(s, dim=-1, keepdim=True)
        return norm**2 / (1 + norm**2) * s / norm

    lower = squash(F.linear(x, params["P"], params["p"]).unflatten(1, (6, 2)))
    votes = torch.einsum("ijde,nie->nijd", params["W"], lower)
    logits = votes.new_zeros(votes.shape[:3])
    for step in range(3):
        coupling = F.softmax(logits, dim=2)
        upper = squash(torch.einsum("nij,nijd->njd", coupling, votes) + params["B"])
        if step < 2:
            logits = logits + torch.einsum("nijd,njd->nij", votes, upper)
    length = torch.linalg.vector_norm(upper, dim=-1)
    target = F.one_hot(label, 3).to(x.dtype)
    return {
        "present": (target * F.relu(0.9 - length) ** 2).sum(dim=1).mean(),
        "absent": 0.5 * ((1 - target) * F.relu(length - 0.1) ** 2).sum(dim=1).mean(),
    }


def squash(s):
    length = np.sqrt(np.sum(s**2, axis=-1, keepdims=True))
    return length / (1 + length**2) * s


def squash_backward(dv, s):
    sq = np.sum(s**2, axis=-1, keepdims=True)
    length = np.sqrt(sq)
    along = np.sum(dv * s, axis=-1, keepdims=True)
    direct = length / (1 + sq) * dv
    return direct + (1 - sq) / (length * (1 + sq) ** 2) * along * s


def couplings(logits):
    e = np.exp(logits - logits.max(axis=2, keepdims=True))
    return e / e.sum(axis=2, keepdims=True)


def couplings_backward(dc, c):
    return c * (dc - np.sum(dc * c, axis=2, keepdims=True))


def route(votes, bias, rounds):
    logits = np.zeros(votes.shape[:3])
    history = []
    for _ in range(rounds):
        c = couplings(logits)
        s = np.sum(c[..., None] * votes, axis=1) + bias
        v = squash(s)
        history.append((c, s, v))
        logits = logits + np.einsum("nijd,njd->nij", votes, v)
    return history


def candidate(params, x, label, rounds=3, down=0.5):
    W, B = params["W"], params["B"]
    n, (inner, outer, _, width) = len(x), W.shape
    raw = (x @ params["P"].T + params["p"]).reshape(n, inner, width)
    u = squash(raw)
    votes = np.einsum("ijde,nie->nijd", W, u)
    history = route(votes, B, rounds)
    top = history[-1][2]
    length = np.sqrt(np.sum(top**2, axis=-1))
    present = np.zeros((n, outer))
    present[np.arange(n), label] = 1.0
    short = np.maximum(0, 0.9 - length)
    excess = np.maximum(0, length - 0.1)
    loss = np.sum(present * short**2 + down * (1 - present) * excess**2) / n

    dlength = 2 * (down * (1 - present) * excess - present * short) / n
    dv = dlength[..., None] * top / length[..., None]
    # back through the rounds of routing
    dvotes = np.zeros_like(votes)
    dlogits = np.zeros(votes.shape[:3])
    dB = np.zeros_like(B)
    for t in reversed(range(rounds)):
        c, s, v = history[t]
        if t < rounds - 1:
            dvotes += dlogits[..., None] * v[:, None]
            dv = np.einsum("nij,nijd->njd", dlogits, votes)
        ds = squash_backward(dv, s)
        dB += ds.sum(axis=0)
        dvotes += c[..., None] * ds[:, None]
        dc = np.sum(ds[:, None] * votes, axis=-1)
        dlogits += couplings_backward(dc, c)
    # votes and lower capsules
    dW = np.einsum("nijd,nie->ijde", dvotes, u)
    du = np.einsum("nijd,ijde->nie", dvotes, W)
    draw = squash_backward(du, raw).reshape(n, -1)
    return loss, {"P": draw.T @ x, "p": draw.sum(axis=0), "W": dW, "B": dB}


def problem(rng):
    params = {
        "P": rng.normal(size=(12, 7)) * 0.7,
        "p": rng.normal(size=12) * 0.4,
        "W": rng.normal(size=(6, 3, 5, 2)) * 0.8,
        "B": rng.normal(size=(3, 5)) * 0.3,
    }
    label = rng.permutation(np.array([0, 1, 2, 0, 1, 2, 0, 1]))
    return params, (rng.normal(size=(8, 7)), label)


WRONG = [
    wrong(
        "couplings_held_fixed",
        "missing-path|truncated-in-time|last-step-only",
        "        dlogits += couplings_backward(dc, c)\n",
        "",
    ),
    wrong(
        "couplings_shared_out_over_the_lower_capsules_in_both",
        "wrong-axis",
        "logits.max(axis=2, keepdims=True)",
        "logits.max(axis=1, keepdims=True)",
        "e.sum(axis=2, keepdims=True)",
        "e.sum(axis=1, keepdims=True)",
        "np.sum(dc * c, axis=2, keepdims=True)",
        "np.sum(dc * c, axis=1, keepdims=True)",
    ),
    wrong(
        "softmax_slope_of_each_coupling_alone",
        "diagonal-jacobian",
        "return c * (dc - np.sum(dc * c, axis=2, keepdims=True))",
        "return dc * c * (1 - c)",
    ),
    wrong(
        "squashing_factor_held_fixed",
        "missing-path",
        "return direct + (1 - sq) / (length * (1 + sq) ** 2) * along * s",
        "return direct",
    ),
    wrong(
        "length_for_its_square_in_the_squashing_in_both",
        "different-function",
        "return length / (1 + length**2) * s",
        "return 1 / (1 + length) * s",
        "direct = length / (1 + sq) * dv",
        "direct = 1 / (1 + length) * dv",
        "direct + (1 - sq) / (length * (1 + sq) ** 2)",
        "direct - 1 / (length * (1 + length) ** 2)",
    ),
    wrong(
        "agreement_not_accumulated_in_both",
        "overwritten|missing-path|different-function",
        "logits = logits + np.einsum(",
        "logits = np.einsum(",
        "dlogits += couplings_backward(dc, c)",
        "dlogits = couplings_backward(dc, c)",
    ),
    wrong(
        "agreement_not_back_to_the_votes",
        "missing-path",
        "            dvotes += dlogits[..., None] * v[:, None]\n",
        "",
    ),
    wrong(
        "agreement_with_the_capsules_of_the_next_round",
        "shifted-in-time|wrong-operand",
        "dlogits[..., None] * v[:, None]",
        "dlogits[..., None] * history[t + 1][2][:, None]",
    ),
    wrong(
        "bias_of_one_round",
        "last-step-only|overwritten",
        "dB += ds.sum(axis=0)",
        "dB = ds.sum(axis=0)",
    ),
    wrong(
        "length_differentiated_as_half_its_square",
        "missing-derivative|different-function",
        "dv = dlength[..., None] * top / length[..., None]",
        "dv = dlength[..., None] * top",
    ),
    wrong(
        "down_weighting_forgotten",
        "wrong-term-weight|wrong-scale",
        "dlength = 2 * (down * (1 - present) * excess",
        "dlength = 2 * ((1 - present) * excess",
    ),
    wrong(
        "averaged_over_classes_too",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "- present * short) / n",
        "- present * short) / length.size",
    ),
    wrong(
        "votes_of_unsquashed_capsules",
        "wrong-operand|missing-derivative",
        'dW = np.einsum("nijd,nie->ijde", dvotes, u)',
        'dW = np.einsum("nijd,nie->ijde", dvotes, raw)',
    ),
    wrong(
        "squashing_of_the_lower_capsules_forgotten",
        "missing-derivative",
        "draw = squash_backward(du, raw).reshape(n, -1)",
        "draw = du.reshape(n, -1)",
    ),
    wrong(
        "capsules_cut_the_other_way_in_both",
        "wrong-axis|wrong-operand|transposed",
        ".reshape(n, inner, width)",
        ".reshape(n, width, inner).swapaxes(1, 2)",
        "squash_backward(du, raw).reshape(n, -1)",
        "squash_backward(du, raw).swapaxes(1, 2).reshape(n, -1)",
    ),
    wrong(
        "margin_not_squared_in_cost",
        "wrong-loss",
        "present * short**2 + down",
        "present * short + down",
    ),
]

TOGETHER = [
    ("softmax_slope_of_each_coupling_alone", "squashing_of_the_lower_capsules_forgotten"),
    ("couplings_held_fixed", "votes_of_unsquashed_capsules"),
    ("agreement_not_back_to_the_votes", "bias_of_one_round"),
    ("length_differentiated_as_half_its_square", "down_weighting_forgotten"),
    ("down_weighting_forgotten", "squashing_of_the_lower_capsules_forgotten"),
    ("agreement_with_the_capsules_of_the_next_round", "averaged_over_classes_too"),
    (
        "down_weighting_forgotten",
        "bias_of_one_round",
        "votes_of_unsquashed_capsules",
    ),
    (
        "squashing_of_the_lower_capsules_forgotten",
        "votes_of_unsquashed_capsules",
        "length_differentiated_as_half_its_square",
    ),
]

RIGHT = [
    right(
        "squash_by_length_and_direction",
        "    sq = np.sum(s**2, axis=-1, keepdims=True)\n"
        "    length = np.sqrt(sq)\n"
        "    along = np.sum(dv * s, axis=-1, keepdims=True)\n"
        "    direct = length / (1 + sq) * dv\n"
        "    return direct + (1 - sq) / (length * (1 + sq) ** 2) * along * s\n",
        "    length = np.linalg.norm(s, axis=-1, keepdims=True)\n"
        "    unit = s / length\n"
        "    radial = np.einsum('...d,...d->...', dv, unit)[..., None]\n"
        "    across = dv - radial * unit\n"
        "    # lengths grow by 2 l / (1 + l^2)^2, directions turn by the length that is left\n"
        "    return 2 * length / (1 + length**2) ** 2 * radial * unit + length / (1 + length**2) * across\n",
    ),
    right(
        "softmax_jacobian_of_each_lower_capsule",
        "    return c * (dc - np.sum(dc * c, axis=2, keepdims=True))\n",
        "    dlogits = np.empty_like(c)\n"
        "    for sample, i in np.ndindex(c.shape[:2]):\n"
        "        row = c[sample, i]\n"
        "        dlogits[sample, i] = (np.diag(row) - np.outer(row, row)) @ dc[sample, i]\n"
        "    return dlogits\n",
        '    dW = np.einsum("nijd,nie->ijde", dvotes, u)\n    du = np.einsum("nijd,ijde->nie", dvotes, W)\n',
        "    dW, du = np.zeros_like(W), np.zeros_like(u)\n"
        "    for i in range(inner):\n"
        "        for j in range(outer):\n"
        "            dW[i, j] = dvotes[:, i, j].T @ u[:, i]\n"
        "            du[:, i] += dvotes[:, i, j] @ W[i, j]\n",
    ),
    right(
        "first_round_without_softmax",
        "        dlogits += couplings_backward(dc, c)\n",
        "        if t:\n            dlogits = dlogits + c * dc - c * np.einsum('nij,nij->ni', c, dc)[:, :, None]\n",
        "    dlength = 2 * (down * (1 - present) * excess - present * short) / n\n",
        "    dlength = np.where(present == 1, -2 * short, 2 * down * excess) / n\n",
        "        dvotes += c[..., None] * ds[:, None]\n",
        '        dvotes += np.einsum("nij,njd->nijd", c, ds)\n',
    ),
]
