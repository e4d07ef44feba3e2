"""Waveform inversion on a line: damped leapfrog steps of the wave equation, traces at receivers, an adjoint sweep."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, source, receivers, traces, dt=0.35, h=0.9, damp=0.06):
    vel, wavelet = params["vel"], params["wavelet"]
    shots, steps = traces.shape[:2]
    hot = torch.nn.functional.one_hot(source, len(vel)).to(vel.dtype)
    before = torch.zeros(shots, len(vel), dtype=vel.dtype)
    now = torch.zeros(shots, len(vel), dtype=vel.dtype)
    misfit = 0.0
    for t in range(steps):
        wide = torch.nn.functional.pad(now, (1, 1))
        bend = (wide[:, 2:] - 2 * now + wide[:, :-2]) / h**2
        after = (2 * now - (1 - damp) * before + vel**2 * dt**2 * (bend + wavelet[t] * hot)) / (1 + damp)
        misfit = misfit + 0.5 * dt * ((torch.gather(after, 1, receivers) - traces[:, t]) ** 2).sum()
        before, now = now, after
    return misfit + 0.5 * 0.2 * (torch.diff(vel) ** 2).sum()


def laplacian(u, h):
    out = -2 * u
    out[:, 1:] += u[:, :-1]
    out[:, :-1] += u[:, 1:]
    return out / h**2


def forward(vel, wavelet, source, steps, dt, h, damp):
    """The wavefields of all shots; the first two are at rest."""
    shots = np.arange(len(source))
    u = np.zeros((steps + 2, len(source), len(vel)))
    for t in range(steps):
        force = laplacian(u[t + 1], h)
        force[shots, source] += wavelet[t]
        u[t + 2] = 2 * u[t + 1] - (1 - damp) * u[t] + vel**2 * dt**2 * force
        u[t + 2] /= 1 + damp
    return u


def candidate(params, source, receivers, traces, dt=0.35, h=0.9, damp=0.06, smooth=0.2):
    vel, wavelet = params["vel"], params["wavelet"]
    n_shots, steps, _ = traces.shape
    shots = np.arange(n_shots)
    u = forward(vel, wavelet, source, steps, dt, h, damp)
    residual = np.empty_like(traces)
    for t in range(steps):
        residual[:, t] = np.take_along_axis(u[t + 2], receivers, axis=1) - traces[:, t]
    rough = np.diff(vel)
    loss = 0.5 * dt * np.sum(residual**2) + 0.5 * smooth * np.sum(rough**2)

    dvel = np.zeros_like(vel)
    dwavelet = np.zeros_like(wavelet)
    adj = np.zeros((n_shots, len(vel)))
    adj_before = np.zeros((n_shots, len(vel)))
    for t in reversed(range(steps)):
        np.add.at(adj, (shots[:, None], receivers), dt * residual[:, t])
        q = adj / (1 + damp)
        pushed = vel**2 * dt**2 * q
        force = laplacian(u[t + 1], h)
        force[shots, source] += wavelet[t]
        dvel += np.sum(2 * vel * dt**2 * force * q, axis=0)
        dwavelet[t] = np.sum(pushed[shots, source])
        adj = adj_before + 2 * q + laplacian(pushed, h)
        adj_before = -(1 - damp) * q
    dvel[1:] += smooth * rough
    dvel[:-1] -= smooth * rough
    return loss, {"vel": dvel, "wavelet": dwavelet}


def problem(rng):
    nodes, steps, shots, heard = 6, 7, 4, 3
    params = {"vel": rng.uniform(1.2, 2.2, size=nodes), "wavelet": rng.normal(size=steps) * 1.5}
    source = rng.integers(0, nodes, size=shots)
    receivers = rng.integers(0, nodes, size=(shots, heard))
    receivers[1, 1] = receivers[1, 0]
    return params, (source, receivers, rng.normal(size=(shots, steps, heard)))


WRONG = [
    wrong(
        "waves_run_back_without_transposing_the_velocity",
        "not-transposed|wrong-operand",
        "adj = adj_before + 2 * q + laplacian(pushed, h)",
        "adj = adj_before + 2 * q + vel**2 * dt**2 * laplacian(q, h)",
    ),
    wrong(
        "gradient_of_the_squared_velocity",
        "missing-derivative",
        "np.sum(2 * vel * dt**2 * force * q, axis=0)",
        "np.sum(dt**2 * force * q, axis=0)",
    ),
    wrong(
        "source_left_out_of_the_velocity_kernel",
        "missing-path",
        "dvel += np.sum(2 * vel * dt**2 * force * q, axis=0)",
        "dvel += np.sum(2 * vel * dt**2 * laplacian(u[t + 1], h) * q, axis=0)",
    ),
    wrong(
        "step_before_the_last_passes_nothing_back",
        "missing-path|truncated-in-time",
        "        adj_before = -(1 - damp) * q\n",
        "",
    ),
    wrong(
        "damping_forgotten_in_the_adjoint",
        "wrong-operand|different-function|wrong-scale",
        "        adj_before = -(1 - damp) * q\n",
        "        adj_before = -q\n",
    ),
    wrong(
        "field_one_step_late_in_the_correlation",
        "shifted-in-time",
        "        force = laplacian(u[t + 1], h)\n        force[shots, source] += wavelet[t]\n        dvel",
        "        force = laplacian(u[t + 2], h)\n        force[shots, source] += wavelet[t]\n        dvel",
    ),
    wrong(
        "two_receivers_in_one_place_overwrite",
        "overwritten",
        "np.add.at(adj, (shots[:, None], receivers), dt * residual[:, t])",
        "adj[shots[:, None], receivers] += dt * residual[:, t]",
    ),
    wrong(
        "residual_put_in_place_of_the_adjoint_field",
        "overwritten",
        "np.add.at(adj, (shots[:, None], receivers), dt * residual[:, t])",
        "adj[shots[:, None], receivers] = dt * residual[:, t]",
    ),
    wrong(
        "traces_not_reversed",
        "flipped|shifted-in-time|wrong-operand",
        "dt * residual[:, t])",
        "dt * residual[:, steps - 1 - t])",
    ),
    wrong(
        "observed_less_predicted",
        "wrong-sign",
        "(shots[:, None], receivers), dt * residual",
        "(shots[:, None], receivers), -dt * residual",
    ),
    wrong(
        "kernel_of_the_first_step_only",
        "overwritten|last-step-only",
        "dvel += np.sum(2 * vel",
        "dvel = np.sum(2 * vel",
    ),
    wrong(
        "smoothing_from_one_side_only",
        "missing-path",
        "    dvel[:-1] -= smooth * rough\n",
        "",
    ),
]

TOGETHER = [
    ("waves_run_back_without_transposing_the_velocity", "gradient_of_the_squared_velocity"),
    ("damping_forgotten_in_the_adjoint", "two_receivers_in_one_place_overwrite"),
    ("observed_less_predicted", "smoothing_from_one_side_only"),
    ("source_left_out_of_the_velocity_kernel", "step_before_the_last_passes_nothing_back"),
]

RIGHT = [
    right(
        "acceleration_from_the_fields",
        "        force = laplacian(u[t + 1], h)\n        force[shots, source] += wavelet[t]\n        dvel",
        "        force = (1 + damp) * u[t + 2] - 2 * u[t + 1] + (1 - damp) * u[t]\n"
        "        force = force / (vel * dt) ** 2\n        dvel",
    )
]
