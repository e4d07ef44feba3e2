"""Tuning a PID controller through a simulated pendulum with air drag and a saturating motor: the adjoint by hand."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, start, wanted, seen):
    dt = 0.25
    theta, omega = start[:, 0], start[:, 1]
    integral = torch.zeros_like(theta)
    path, torques = [], []
    error = wanted[:, 0] - theta
    for t in range(wanted.shape[1]):
        before, error = error, wanted[:, t] - theta
        integral = integral + dt * error
        slope = (error - before) / dt
        torque = 2 * torch.tanh((params["kp"] * error + params["ki"] * integral + params["kd"] * slope) / 2)
        drag = F.softplus(params["drag"]) * omega * omega.abs()
        omega = omega + dt * (torque - params["log_g"].exp() * torch.sin(theta) - drag)
        theta = theta + dt * omega
        path.append(theta)
        torques.append(torque)
    tracking = F.mse_loss(torch.stack(path, dim=1), seen)
    return {"tracking": tracking, "effort": 0.05 * torch.stack(torques).square().mean()}


def candidate(params, start, wanted, seen):
    dt, rho = 0.25, 0.05
    kp, ki, kd = params["kp"], params["ki"], params["kd"]
    g = np.exp(params["log_g"])
    c = np.log1p(np.exp(params["drag"]))
    n, T = wanted.shape

    # simulate
    th = np.zeros((n, T + 1))
    om = np.zeros((n, T + 1))
    e, s, d, u = (np.zeros((n, T)) for _ in range(4))
    th[:, 0], om[:, 0] = start[:, 0], start[:, 1]
    acc = np.zeros(n)
    for t in range(T):
        e[:, t] = wanted[:, t] - th[:, t]
        acc = acc + dt * e[:, t]
        s[:, t] = acc
        if t > 0:
            d[:, t] = (e[:, t] - e[:, t - 1]) / dt
        u[:, t] = 2 * np.tanh(0.5 * (kp * e[:, t] + ki * s[:, t] + kd * d[:, t]))
        a = u[:, t] - g * np.sin(th[:, t]) - c * om[:, t] * np.abs(om[:, t])
        om[:, t + 1] = om[:, t] + dt * a
        th[:, t + 1] = th[:, t] + dt * om[:, t + 1]
    miss = th[:, 1:] - seen
    loss = np.mean(miss**2) + rho * np.mean(u**2)

    # adjoint: l_x is the derivative of the loss with respect to x
    l_kp = l_ki = l_kd = l_g = l_c = 0.0
    l_th, l_om, l_s, l_later = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    for t in range(T - 1, -1, -1):
        l_th = l_th + 2 * miss[:, t] / (n * T)
        l_om = l_om + dt * l_th
        l_a = dt * l_om
        # motor
        l_u = l_a + 2 * rho * u[:, t] / (n * T)
        l_v = l_u * (1 - 0.25 * u[:, t] ** 2)
        # controller
        l_kp += np.sum(l_v * e[:, t])
        l_ki += np.sum(l_v * s[:, t])
        l_kd += np.sum(l_v * d[:, t])
        l_s = l_s + l_v * ki
        l_d = l_v * kd if t > 0 else np.zeros(n)
        l_e = l_v * kp + l_d / dt + dt * l_s + l_later
        l_later = -l_d / dt
        # gravity and drag
        l_g -= np.sum(l_a * np.sin(th[:, t]))
        l_c -= np.sum(l_a * om[:, t] * np.abs(om[:, t]))
        l_om = l_om - 2 * c * l_a * np.abs(om[:, t])
        l_th = l_th - g * l_a * np.cos(th[:, t]) - l_e

    return loss, {
        "kp": np.array(l_kp),
        "ki": np.array(l_ki),
        "kd": np.array(l_kd),
        "log_g": np.array(l_g * g),
        "drag": np.array(l_c / (1 + np.exp(-params["drag"]))),
    }


def problem(rng):
    n, steps = 5, 7
    params = {
        "kp": np.array(1.3 + 0.2 * rng.normal()),
        "ki": np.array(0.5 + 0.1 * rng.normal()),
        "kd": np.array(0.4 + 0.1 * rng.normal()),
        "log_g": np.array(0.6 + 0.2 * rng.normal()),
        "drag": np.array(-0.7 + 0.2 * rng.normal()),
    }
    start = rng.normal(size=(n, 2))
    wanted = 0.6 * rng.normal(size=(n, 1)) + 0.4 * np.sin(np.arange(steps) + rng.uniform(0, 6, size=(n, 1)))
    seen = wanted + 0.3 * rng.normal(size=(n, steps))
    return params, (start, wanted, seen)


WRONG = [
    wrong(
        "drag_slope_without_its_two",
        "wrong-scale|missing-path",
        "l_om = l_om - 2 * c * l_a * np.abs(om[:, t])",
        "l_om = l_om - c * l_a * np.abs(om[:, t])",
    ),
    wrong(
        "drag_slope_with_signed_speed",
        "wrong-operand|missing-derivative",
        "l_om = l_om - 2 * c * l_a * np.abs(om[:, t])",
        "l_om = l_om - 2 * c * l_a * om[:, t]",
    ),
    wrong(
        "drag_not_felt_by_the_speed",
        "missing-path",
        "        l_om = l_om - 2 * c * l_a * np.abs(om[:, t])\n",
        "",
    ),
    wrong(
        "drag_gradient_at_the_speed_after",
        "shifted-in-time|wrong-operand",
        "l_c -= np.sum(l_a * om[:, t] * np.abs(om[:, t]))",
        "l_c -= np.sum(l_a * om[:, t + 1] * np.abs(om[:, t + 1]))",
    ),
    wrong(
        "sine_not_differentiated",
        "missing-derivative|different-function",
        "g * l_a * np.cos(th[:, t])",
        "g * l_a * np.sin(th[:, t])",
    ),
    wrong(
        "sine_differentiated_at_the_angle_after",
        "shifted-in-time|wrong-operand",
        "g * l_a * np.cos(th[:, t])",
        "g * l_a * np.cos(th[:, t + 1])",
    ),
    wrong(
        "saturation_forgotten_backwards",
        "missing-derivative",
        "l_v = l_u * (1 - 0.25 * u[:, t] ** 2)",
        "l_v = l_u",
    ),
    wrong(
        "saturation_slope_of_an_unscaled_tanh",
        "different-function|wrong-operand",
        "l_v = l_u * (1 - 0.25 * u[:, t] ** 2)",
        "l_v = l_u * (1 - u[:, t] ** 2)",
    ),
    wrong(
        "integral_not_accumulated_backwards",
        "missing-path|truncated-in-time|overwritten",
        "l_s = l_s + l_v * ki",
        "l_s = l_v * ki",
    ),
    wrong(
        "error_before_not_felt_by_the_slope",
        "missing-path",
        "        l_later = -l_d / dt\n",
        "",
    ),
    wrong(
        "feedback_loop_left_open_backwards",
        "missing-path",
        "np.cos(th[:, t]) - l_e",
        "np.cos(th[:, t])",
    ),
    wrong(
        "angle_moves_by_the_old_speed_backwards",
        "missing-path|shifted-in-time|different-function",
        "        l_om = l_om + dt * l_th\n        l_a = dt * l_om\n",
        "        l_a = dt * l_om\n        l_om = l_om + dt * l_th\n",
    ),
    wrong(
        "effort_forgotten_backwards",
        "missing-path|wrong-term-weight",
        "l_u = l_a + 2 * rho * u[:, t] / (n * T)",
        "l_u = l_a",
    ),
    wrong(
        "gravity_gradient_not_of_its_logarithm",
        "missing-derivative",
        '"log_g": np.array(l_g * g)',
        '"log_g": np.array(l_g)',
    ),
    wrong(
        "gain_gradient_of_the_first_step",
        "overwritten|last-step-only",
        "l_ki += np.sum(l_v * s[:, t])",
        "l_ki = np.sum(l_v * s[:, t])",
    ),
    wrong(
        "first_step_left_out_of_the_adjoint",
        "truncated-in-time",
        "for t in range(T - 1, -1, -1):",
        "for t in range(T - 1, 0, -1):",
    ),
]

TOGETHER = [
    ("drag_slope_without_its_two", "saturation_forgotten_backwards"),
    ("drag_gradient_at_the_speed_after", "integral_not_accumulated_backwards"),
    ("sine_differentiated_at_the_angle_after", "error_before_not_felt_by_the_slope"),
    ("feedback_loop_left_open_backwards", "gravity_gradient_not_of_its_logarithm"),
    ("effort_forgotten_backwards", "sine_not_differentiated"),
    ("saturation_slope_of_an_unscaled_tanh", "gain_gradient_of_the_first_step"),
    ("drag_not_felt_by_the_speed", "effort_forgotten_backwards", "gravity_gradient_not_of_its_logarithm"),
]

RIGHT = [
    right(
        "gains_in_one_go_after_the_loop",
        "        l_kp += np.sum(l_v * e[:, t])\n"
        "        l_ki += np.sum(l_v * s[:, t])\n"
        "        l_kd += np.sum(l_v * d[:, t])\n",
        "        l_vs[:, t] = l_v\n",
        "    l_kp = l_ki = l_kd = l_g = l_c = 0.0\n",
        "    l_g = l_c = 0.0\n    l_vs = np.zeros((n, T))\n",
        "    return loss, {\n",
        "    l_kp, l_ki, l_kd = (np.vdot(l_vs, signal) for signal in (e, s, d))\n    return loss, {\n",
    ),
]
