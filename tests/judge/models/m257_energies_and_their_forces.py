"""A potential of atoms by a network of their surroundings, fitted to energies and to forces, which are its gradient."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, positions, energies, forces):
    centres, eta, cutoff = torch.linspace(0.6, 2.6, 6, dtype=positions.dtype), 1.8, 3.0
    positions = positions.detach().clone().requires_grad_()
    atoms = positions.shape[1]
    same = torch.eye(atoms, dtype=positions.dtype)
    apart = positions[:, :, None] - positions[:, None]
    r = torch.sqrt((apart**2).sum(dim=-1) + same)
    fade = torch.where(r < cutoff, 0.5 * (1 + torch.cos(torch.pi * r / cutoff)), 0.0) * (1 - same)
    G = (torch.exp(-eta * (r[..., None] - centres) ** 2) * fade[..., None]).sum(dim=2)
    h1 = torch.tanh(G @ params["W1"] + params["b1"])
    h2 = torch.tanh(h1 @ params["W2"] + params["b2"])
    total = (h2 @ params["w3"] + params["b3"]).sum(dim=1)
    (slope,) = torch.autograd.grad(total.sum(), positions, create_graph=True)
    return {
        "energies": (((total - energies) / atoms) ** 2).mean(),
        "forces": 0.3 * ((-slope - forces) ** 2).mean(),
    }


def surroundings(position, centres, eta=1.8, cutoff=3.0):
    """The descriptors of every atom of one cluster, and their derivatives by every coordinate."""
    atoms = len(position)
    G = np.zeros((atoms, len(centres)))
    J = np.zeros((atoms, len(centres), atoms, 3))
    for i in range(atoms):
        for j in range(atoms):
            if i == j:
                continue
            apart = position[i] - position[j]
            r = np.sqrt(np.sum(apart**2))
            if r >= cutoff:
                continue
            fade = 0.5 * (1 + np.cos(np.pi * r / cutoff))
            dfade = -0.5 * np.pi / cutoff * np.sin(np.pi * r / cutoff)
            bump = np.exp(-eta * (r - centres) ** 2)
            dbump = -2 * eta * (r - centres) * bump
            G[i] += bump * fade
            step = np.outer(dbump * fade + bump * dfade, apart / r)
            J[i, :, i] += step
            J[i, :, j] -= step
    return G, J


def candidate(params, positions, energies, forces):
    W1, b1, W2, b2, w3, b3 = (params[name] for name in ("W1", "b1", "W2", "b2", "w3", "b3"))
    weight = 0.3
    clusters, atoms, _ = positions.shape
    centres = np.linspace(0.6, 2.6, 6)
    grads = {name: np.zeros_like(value) for name, value in params.items()}

    energy_loss, force_loss = 0.0, 0.0
    for c in range(clusters):
        G, J = surroundings(positions[c], centres)
        # energy
        h1 = np.tanh(G @ W1 + b1)
        h2 = np.tanh(h1 @ W2 + b2)
        E = np.sum(h2 @ w3 + b3)
        # forces: back to the descriptors, then to the coordinates
        s1, s2 = 1 - h1**2, 1 - h2**2
        d2 = s2 * w3
        u1 = d2 @ W2.T
        d1 = s1 * u1
        dE_dG = d1 @ W1.T
        F = -np.einsum("ik,ikax->ax", dE_dG, J)
        energy_error = (E - energies[c]) / atoms
        force_error = F - forces[c]
        energy_loss += energy_error**2 / clusters
        force_loss += weight * np.sum(force_error**2) / forces.size

        # gradient of the force term, through the backward pass above
        dF = 2 * weight * force_error / forces.size
        back = -np.einsum("ax,ikax->ik", dF, J)
        grads["W1"] += back.T @ d1
        dd1 = back @ W1
        du1 = dd1 * s1
        ds1 = dd1 * u1
        grads["W2"] += du1.T @ d2
        dd2 = du1 @ W2
        grads["w3"] += np.sum(dd2 * s2, axis=0)
        ds2 = dd2 * w3
        # gradient of the energy term, joined by the slopes of the force term
        dE = 2 * energy_error / (atoms * clusters)
        grads["w3"] += dE * h2.sum(axis=0)
        grads["b3"] += dE * atoms
        dh2 = dE * w3 - 2 * h2 * ds2
        da2 = dh2 * s2
        grads["W2"] += h1.T @ da2
        grads["b2"] += da2.sum(axis=0)
        dh1 = da2 @ W2.T - 2 * h1 * ds1
        da1 = dh1 * s1
        grads["W1"] += G.T @ da1
        grads["b1"] += da1.sum(axis=0)
    loss = energy_loss + force_loss
    return loss, grads


def problem(rng):
    clusters, atoms, descriptors, first, second = 4, 5, 6, 7, 2
    corners = np.array([[0, 0, 0], [1.2, 0, 0], [0, 1.4, 0.2], [0.3, 0.2, 1.5], [1.6, 1.9, 1.1]])
    params = {
        "W1": rng.normal(size=(descriptors, first)) * 0.7,
        "b1": rng.normal(size=first) * 0.4,
        "W2": rng.normal(size=(first, second)) * 0.6,
        "b2": rng.normal(size=second) * 0.4,
        "w3": rng.normal(size=second),
        "b3": rng.normal(size=1) * 0.3,
    }
    positions = corners + rng.normal(size=(clusters, atoms, 3)) * 0.2
    return params, (positions, rng.normal(size=clusters) * 2, rng.normal(size=(clusters, atoms, 3)) * 0.5)


WRONG = [
    wrong(
        "slope_of_the_first_layer_held_fixed",
        "missing-path",
        "dh1 = da2 @ W2.T - 2 * h1 * ds1",
        "dh1 = da2 @ W2.T",
    ),
    wrong(
        "slope_of_the_second_layer_held_fixed",
        "missing-path",
        "dh2 = dE * w3 - 2 * h2 * ds2",
        "dh2 = dE * w3",
    ),
    wrong(
        "second_derivative_without_the_first",
        "missing-derivative",
        "dh1 = da2 @ W2.T - 2 * h1 * ds1\n        da1 = dh1 * s1",
        "dh1 = da2 @ W2.T\n        da1 = dh1 * s1 - 2 * h1 * ds1",
    ),
    wrong(
        "first_weights_inside_the_force_forgotten",
        "missing-path",
        '        grads["W1"] += back.T @ d1\n',
        "",
    ),
    wrong(
        "second_weights_of_the_force_overwritten",
        "overwritten|missing-path",
        'grads["W2"] += h1.T @ da2',
        'grads["W2"] = h1.T @ da2',
    ),
    wrong(
        "gradient_taken_for_the_force",
        "wrong-sign|different-function",
        'F = -np.einsum("ik,ikax->ax", dE_dG, J)',
        'F = np.einsum("ik,ikax->ax", dE_dG, J)',
    ),
    wrong(
        "minus_of_the_force_forgotten_backwards",
        "wrong-sign",
        'back = -np.einsum("ax,ikax->ik", dF, J)',
        'back = np.einsum("ax,ikax->ik", dF, J)',
    ),
    wrong(
        "fading_out_not_differentiated",
        "missing-path|missing-derivative|different-function",
        "np.outer(dbump * fade + bump * dfade, apart / r)",
        "np.outer(dbump * fade, apart / r)",
    ),
    wrong(
        "neighbours_not_pushed_back",
        "missing-path|different-function",
        "            J[i, :, j] -= step\n",
        "",
    ),
    wrong(
        "error_per_atom_not_divided_again",
        "wrong-scale|wrong-term-weight",
        "dE = 2 * energy_error / (atoms * clusters)",
        "dE = 2 * energy_error / clusters",
    ),
    wrong(
        "weight_of_the_forces_forgotten_backwards",
        "wrong-term-weight|wrong-scale",
        "dF = 2 * weight * force_error / forces.size",
        "dF = 2 * force_error / forces.size",
    ),
    wrong(
        "slope_not_passed_to_the_second_layer",
        "missing-derivative",
        "du1 = dd1 * s1",
        "du1 = dd1",
    ),
]

TOGETHER = [
    ("slope_of_the_first_layer_held_fixed", "error_per_atom_not_divided_again"),
    ("first_weights_inside_the_force_forgotten", "minus_of_the_force_forgotten_backwards"),
    ("fading_out_not_differentiated", "weight_of_the_forces_forgotten_backwards"),
    ("slope_of_the_second_layer_held_fixed", "slope_not_passed_to_the_second_layer"),
]

RIGHT = [
    right(
        "outputs_moved_along_the_force_error",
        '        grads["W1"] += back.T @ d1\n'
        "        dd1 = back @ W1\n"
        "        du1 = dd1 * s1\n"
        "        ds1 = dd1 * u1\n"
        '        grads["W2"] += du1.T @ d2\n'
        "        dd2 = du1 @ W2\n",
        "        moved1 = (back @ W1) * s1\n"
        "        moved2 = moved1 @ W2\n"
        "        ds1 = u1 * (back @ W1)\n"
        "        dd2 = moved2\n"
        '        grads["W1"] += np.einsum("ik,ih->kh", back, d1)\n'
        '        grads["W2"] += np.einsum("ih,ig->hg", moved1, d2)\n',
    )
]
