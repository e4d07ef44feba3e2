"""Calibration of a robot arm: its Denavit-Hartenberg constants, a tool and a base from measured positions."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, joints, measured):
    angles = joints + params["theta0"]
    T = torch.eye(4, dtype=joints.dtype).expand(len(joints), 4, 4)
    zero, one = torch.zeros_like(angles[:, 0]), torch.ones_like(angles[:, 0])
    for k in range(joints.shape[1]):
        c, s = torch.cos(angles[:, k]), torch.sin(angles[:, k])
        ca, sa = torch.cos(params["alpha"][k]), torch.sin(params["alpha"][k])
        rows = [
            torch.stack([c, -s * ca, s * sa, params["r"][k] * c], -1),
            torch.stack([s, c * ca, -c * sa, params["r"][k] * s], -1),
            torch.stack([zero, sa * one, ca * one, params["d"][k] * one], -1),
            torch.stack([zero, zero, zero, one], -1),
        ]
        T = T @ torch.stack(rows, 1)
    tip = params["base"] + T[:, :3, 3] + T[:, :3, :3] @ params["tool"]
    return 0.5 * ((tip - measured) ** 2).sum(1).mean()


def link(theta, alpha, r, d):
    ct, st = np.cos(theta), np.sin(theta)
    ca, sa = np.cos(alpha), np.sin(alpha)
    return np.array(
        [
            [ct, -st * ca, st * sa, r * ct],
            [st, ct * ca, -ct * sa, r * st],
            [0, sa, ca, d],
            [0, 0, 0, 1],
        ]
    )


def chain(theta, alpha, r, d):
    """The frames of all links, the first of them the base's own."""
    frames = [np.eye(4)]
    for k in range(len(theta)):
        frames.append(frames[-1] @ link(theta[k], alpha[k], r[k], d[k]))
    return frames


def jacobians(frames, tip):
    """The columns for the joint angles, the offsets along z, the lengths and the twists."""
    columns = {"theta0": [], "d": [], "r": [], "alpha": []}
    for before, after in zip(frames[:-1], frames[1:], strict=True):
        z_axis = before[:3, 2]
        x_axis = after[:3, 0]
        columns["theta0"].append(np.cross(z_axis, tip - before[:3, 3]))
        columns["d"].append(z_axis)
        columns["r"].append(x_axis)
        columns["alpha"].append(np.cross(x_axis, tip - after[:3, 3]))
    return {name: np.stack(vectors, axis=1) for name, vectors in columns.items()}


def candidate(params, joints, measured):
    n = len(joints)
    solved = []
    total = 0.0
    for i in range(n):
        theta = joints[i] + params["theta0"]
        frames = chain(theta, params["alpha"], params["r"], params["d"])
        tip = frames[-1] @ np.append(params["tool"], 1.0)
        error = params["base"] + tip[:3] - measured[i]
        total += 0.5 * error @ error
        solved.append((frames, tip[:3], error))
    loss = total / n

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    for frames, tip, error in solved:
        J = jacobians(frames, tip)
        for name in J:
            grads[name] += J[name].T @ error
        turn = frames[-1][:3, :3]
        grads["tool"] += turn.T @ error
        grads["base"] += error
    grads = {name: value / n for name, value in grads.items()}
    return loss, grads


def problem(rng):
    params = {
        "theta0": rng.normal(size=5) * 0.3,
        "alpha": rng.normal(size=5) * 0.8,
        "r": rng.normal(size=5) * 0.3 + 0.6,
        "d": rng.normal(size=5) * 0.4,
        "tool": rng.normal(size=3) * 0.4,
        "base": rng.normal(size=3) * 0.3,
    }
    return params, (rng.uniform(-1.5, 1.5, size=(6, 5)), rng.normal(size=(6, 3)))


WRONG = [
    wrong(
        "joint_turns_about_the_axis_after_it",
        "wrong-operand|shifted-in-time",
        "z_axis = before[:3, 2]",
        "z_axis = after[:3, 2]",
    ),
    wrong(
        "lever_from_the_frame_after_the_joint",
        "wrong-operand|shifted-in-time",
        "np.cross(z_axis, tip - before[:3, 3])",
        "np.cross(z_axis, tip - after[:3, 3])",
    ),
    wrong(
        "cross_product_the_other_way_round",
        "wrong-sign",
        "np.cross(z_axis, tip - before[:3, 3])",
        "np.cross(tip - before[:3, 3], z_axis)",
    ),
    wrong(
        "lever_from_the_base",
        "missing-path|wrong-operand",
        "np.cross(z_axis, tip - before[:3, 3])",
        "np.cross(z_axis, tip)",
    ),
    wrong(
        "tool_not_in_the_levers",
        "missing-path|wrong-operand",
        "solved.append((frames, tip[:3], error))",
        "solved.append((frames, frames[-1][:3, 3], error))",
    ),
    wrong(
        "tool_seen_from_the_base",
        "not-transposed",
        'grads["tool"] += turn.T @ error',
        'grads["tool"] += turn @ error',
    ),
    wrong(
        "row_of_the_rotation_for_its_axis",
        "not-transposed|wrong-operand",
        "x_axis = after[:3, 0]",
        "x_axis = after[0, :3]",
    ),
    wrong(
        "length_along_the_axis_before_the_turn",
        "wrong-operand|shifted-in-time",
        "x_axis = after[:3, 0]",
        "x_axis = before[:3, 0]",
    ),
    wrong(
        "links_multiplied_from_the_left_in_both",
        "different-function|wrong-operand",
        "frames.append(frames[-1] @ link(theta[k], alpha[k], r[k], d[k]))",
        "frames.append(link(theta[k], alpha[k], r[k], d[k]) @ frames[-1])",
    ),
    wrong(
        "only_the_last_measurement",
        "overwritten|one-sample-only",
        "grads[name] += J[name].T @ error",
        "grads[name] = J[name].T @ error",
    ),
    wrong(
        "base_averaged_over_its_coordinates",
        "wrong-scale|wrong-reduction",
        'grads["base"] += error',
        'grads["base"] += error / 3',
    ),
    wrong(
        "half_forgotten_in_cost",
        "wrong-loss",
        "total += 0.5 * error @ error",
        "total += error @ error",
    ),
]

TOGETHER = [
    ("joint_turns_about_the_axis_after_it", "tool_seen_from_the_base"),
    ("lever_from_the_base", "row_of_the_rotation_for_its_axis"),
    ("cross_product_the_other_way_round", "tool_not_in_the_levers"),
    ("lever_from_the_frame_after_the_joint", "only_the_last_measurement"),
]

RIGHT = [
    right(
        "moments_carried_back_along_the_arm",
        "        J = jacobians(frames, tip)\n        for name in J:\n            grads[name] += J[name].T @ error\n",
        "        for k in range(len(frames) - 1):\n"
        "            z_axis, x_axis = frames[k][:3, 2], frames[k + 1][:3, 0]\n"
        '            grads["theta0"][k] += z_axis @ np.cross(tip - frames[k][:3, 3], error)\n'
        '            grads["alpha"][k] += x_axis @ np.cross(tip - frames[k + 1][:3, 3], error)\n'
        '            grads["d"][k] += z_axis @ error\n'
        '            grads["r"][k] += x_axis @ error\n',
    ),
]
