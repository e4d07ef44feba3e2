"""Attitude of a sensor: a quaternion turned by gyroscope readings, compared with gravity and the magnetic field."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

BATCH_AXIS = None


def reference(params, gyro, acc, mag):
    zero = torch.zeros((), dtype=gyro.dtype)
    bx, bz = params["field"]
    north, down = torch.stack([bx, zero, bz]), torch.tensor([0.0, 0.0, 1.0], dtype=gyro.dtype)
    q = params["q0"] / params["q0"].norm()
    total = 0.0
    for t in range(len(gyro)):
        a, b, c = gyro[t] - params["bias"]
        w, x, y, z = q
        turn = [-x * a - y * b - z * c, w * a + y * c - z * b, w * b - x * c + z * a, w * c + x * b - y * a]
        q = q + 0.1 * torch.stack(turn)
        q = q / q.norm()
        w, v = q[0], q[1:]
        for known, seen in ((down, acc[t]), (north, mag[t])):
            once = torch.linalg.cross(v, known)
            turned = known - 2 * w * once + 2 * torch.linalg.cross(v, once)
            total = total + 0.5 * ((turned - seen) ** 2).sum()
    return total / len(gyro)


def omega(a, b, c):
    """The matrix that multiplies a quaternion by (0, a, b, c) from the right."""
    return np.array([[0, -a, -b, -c], [a, 0, c, -b], [b, -c, 0, a], [c, b, -a, 0]])


def xi(q):
    """The derivative of omega(rate) @ q with respect to the rate."""
    w, x, y, z = q
    return np.array([[-x, -y, -z], [w, -z, y], [z, w, -x], [-y, x, w]])


def gravity(q, acc):
    w, x, y, z = q
    f = np.array([2 * (x * z - w * y), 2 * (w * x + y * z), 2 * (0.5 - x**2 - y**2)]) - acc
    J = np.array(
        [
            [-2 * y, 2 * z, -2 * w, 2 * x],
            [2 * x, 2 * w, 2 * z, 2 * y],
            [0, -4 * x, -4 * y, 0],
        ]
    )
    return f, J


def magnetic(q, bx, bz, mag):
    w, x, y, z = q
    from_x = np.array([2 * (0.5 - y**2 - z**2), 2 * (x * y - w * z), 2 * (w * y + x * z)])
    from_z = np.array([2 * (x * z - w * y), 2 * (w * x + y * z), 2 * (0.5 - x**2 - y**2)])
    J = np.array(
        [
            [-2 * bz * y, 2 * bz * z, -4 * bx * y - 2 * bz * w, -4 * bx * z + 2 * bz * x],
            [-2 * bx * z + 2 * bz * x, 2 * bx * y + 2 * bz * w, 2 * bx * x + 2 * bz * z, -2 * bx * w + 2 * bz * y],
            [2 * bx * y, 2 * bx * z - 4 * bz * x, 2 * bx * w - 4 * bz * y, 2 * bx * x],
        ]
    )
    return bx * from_x + bz * from_z - mag, J, np.stack([from_x, from_z])


def candidate(params, gyro, acc, mag, dt=0.2):
    bx, bz = params["field"]
    steps = len(gyro)
    norm0 = np.sqrt(np.sum(params["q0"] ** 2))
    first = params["q0"] / norm0
    q = first
    history, cost = [], 0.0
    for t in range(steps):
        before = q
        rate = gyro[t] - params["bias"]
        predicted = before + dt / 2 * omega(*rate) @ before
        norm = np.sqrt(np.sum(predicted**2))
        q = predicted / norm
        f_g, J_g = gravity(q, acc[t])
        f_b, J_b, columns = magnetic(q, bx, bz, mag[t])
        cost += 0.5 * (f_g @ f_g + f_b @ f_b)
        history.append((before, rate, norm, q, f_g, J_g, f_b, J_b, columns))
    loss = cost / steps

    grad_bias = np.zeros(3)
    grad_field = np.zeros(2)
    carry = np.zeros(4)
    for t in reversed(range(steps)):
        before, rate, norm, q, f_g, J_g, f_b, J_b, columns = history[t]
        grad_field += columns @ f_b / steps
        step = (J_g.T @ f_g + J_b.T @ f_b) / steps + carry
        dpred = (step - q * (q @ step)) / norm
        grad_bias -= dt / 2 * xi(before).T @ dpred
        carry = dpred + dt / 2 * omega(*rate).T @ dpred
    grad_q0 = (carry - first * (first @ carry)) / norm0
    return loss, {"q0": grad_q0, "bias": grad_bias, "field": grad_field}


def problem(rng):
    params = {
        "q0": rng.normal(size=4) + np.array([1.5, 0, 0, 0]),
        "bias": rng.normal(size=3) * 0.4,
        "field": np.array([0.7, 0.5]) + rng.normal(size=2) * 0.2,
    }
    gyro, acc, mag = (rng.normal(size=(6, 3)) for _ in range(3))
    return params, (gyro * 1.5, acc / np.linalg.norm(acc, axis=1, keepdims=True), mag * 0.6)


WRONG = [
    wrong(
        "normalisation_taken_as_a_constant",
        "missing-path|diagonal-jacobian",
        "dpred = (step - q * (q @ step)) / norm",
        "dpred = step / norm",
    ),
    wrong(
        "first_quaternion_taken_to_have_unit_length",
        "missing-derivative|wrong-scale",
        "grad_q0 = (carry - first * (first @ carry)) / norm0",
        "grad_q0 = carry",
    ),
    wrong(
        "norm_forgotten_backwards",
        "missing-derivative",
        "dpred = (step - q * (q @ step)) / norm",
        "dpred = step - q * (q @ step)",
    ),
    wrong(
        "gyroscope_matrix_not_transposed",
        "not-transposed|wrong-sign",
        "carry = dpred + dt / 2 * omega(*rate).T @ dpred",
        "carry = dpred + dt / 2 * omega(*rate) @ dpred",
    ),
    wrong(
        "quaternion_passed_on_only_through_the_gyroscope",
        "missing-path",
        "carry = dpred + dt / 2 * omega(*rate).T @ dpred",
        "carry = dt / 2 * omega(*rate).T @ dpred",
    ),
    wrong(
        "bias_added_backwards",
        "wrong-sign",
        "grad_bias -= dt / 2 * xi(before).T @ dpred",
        "grad_bias += dt / 2 * xi(before).T @ dpred",
    ),
    wrong(
        "quaternion_after_the_step",
        "shifted-in-time|wrong-operand",
        "xi(before).T @ dpred",
        "xi(q).T @ dpred",
    ),
    wrong(
        "order_of_the_product_reversed_in_both",
        "different-function|wrong-operand",
        "[[0, -a, -b, -c], [a, 0, c, -b], [b, -c, 0, a], [c, b, -a, 0]]",
        "[[0, -a, -b, -c], [a, 0, -c, b], [b, c, 0, -a], [c, -b, a, 0]]",
        "[[-x, -y, -z], [w, -z, y], [z, w, -x], [-y, x, w]]",
        "[[-x, -y, -z], [w, z, -y], [-z, w, x], [y, -x, w]]",
    ),
    wrong(
        "dip_terms_of_the_second_row_lost",
        "missing-path|wrong-operand",
        "[-2 * bx * z + 2 * bz * x, 2 * bx * y + 2 * bz * w, 2 * bx * x + 2 * bz * z, -2 * bx * w + 2 * bz * y],",
        "[-2 * bx * z, 2 * bx * y, 2 * bx * x, -2 * bx * w],",
    ),
    wrong(
        "squares_differentiated_once_in_gravity",
        "wrong-scale|missing-derivative",
        "[0, -4 * x, -4 * y, 0],",
        "[0, -2 * x, -2 * y, 0],",
    ),
    wrong(
        "errors_do_not_reach_earlier_steps",
        "truncated-in-time|missing-path",
        "step = (J_g.T @ f_g + J_b.T @ f_b) / steps + carry",
        "step = (J_g.T @ f_g + J_b.T @ f_b) / steps",
    ),
    wrong(
        "summed_over_the_steps_in_cost",
        "wrong-loss",
        "loss = cost / steps",
        "loss = cost",
    ),
]

TOGETHER = [
    ("normalisation_taken_as_a_constant", "bias_added_backwards"),
    ("dip_terms_of_the_second_row_lost", "gyroscope_matrix_not_transposed"),
    ("first_quaternion_taken_to_have_unit_length", "quaternion_after_the_step"),
    ("squares_differentiated_once_in_gravity", "summed_over_the_steps_in_cost"),
]

RIGHT = [
    right(
        "one_stacked_jacobian",
        "        step = (J_g.T @ f_g + J_b.T @ f_b) / steps + carry\n",
        "        step = np.vstack([J_g, J_b]).T @ np.concatenate([f_g, f_b]) / steps + carry\n",
        "        dpred = (step - q * (q @ step)) / norm\n",
        "        dpred = (np.eye(4) - np.outer(q, q)) @ step / norm\n",
    ),
]
