"""Binary numbers added by a GRU without biases, lowest bit first: numbered errors, logistic bits, squared error."""

import numpy as np
import torch

from tests.judge.corpus import ANY, right, wrong


def reference(params, X, Y):
    p = params
    h = X.new_zeros(X.shape[0], p["W_z"].shape[0])
    loss = 0.0
    for t in range(X.shape[1] - 1, -1, -1):
        x = X[:, t]
        r = torch.sigmoid(h @ p["W_r"] + x @ p["U_r"])
        z = torch.sigmoid(h @ p["W_z"] + x @ p["U_z"])
        g = torch.tanh((h * r) @ p["W_g"] + x @ p["U_g"])
        h = h * (1 - z) + z * g
        loss = loss + 0.5 * ((torch.sigmoid(h @ p["W_o"]) - Y[:, t]) ** 2).sum()
    return loss / X.shape[0]


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def sigmoid_output_to_derivative(output):
    return output * (1 - output)


def tanh_output_to_derivative(output):
    return 1 - output**2


def candidate(params, X, Y):
    W_r, U_r, W_z, U_z = params["W_r"], params["U_r"], params["W_z"], params["U_z"]
    W_g, U_g, W_o = params["W_g"], params["U_g"], params["W_o"]
    n, bits = X.shape[:2]
    loss = 0.0

    # forward, from the right end of the numbers
    states = [np.zeros((n, W_z.shape[0]))]
    r_values, z_values, g_values, outputs = [], [], [], []
    for position in range(bits):
        x = X[:, bits - position - 1]
        h = states[-1]
        r = sigmoid(np.dot(h, W_r) + np.dot(x, U_r))
        z = sigmoid(np.dot(h, W_z) + np.dot(x, U_z))
        g = np.tanh(np.dot(h * r, W_g) + np.dot(x, U_g))
        h = h * (1 - z) + z * g
        output = sigmoid(np.dot(h, W_o))
        loss += 0.5 * np.sum((output - Y[:, bits - position - 1]) ** 2)
        r_values.append(r)
        z_values.append(z)
        g_values.append(g)
        outputs.append(output)
        states.append(h)
    loss /= n

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    future = np.zeros_like(states[0])

    # backward, from the left end
    for position in range(bits):
        x = X[:, position]
        r, z, g = r_values[-position - 1], z_values[-position - 1], g_values[-position - 1]
        h, h_prev = states[-position - 1], states[-position - 2]
        output = outputs[-position - 1]

        delta_out = (output - Y[:, position]) * sigmoid_output_to_derivative(output)
        delta1 = np.dot(delta_out, W_o.T)
        delta2 = future
        delta3 = delta1 + delta2

        delta4 = (1 - z) * delta3
        delta5 = delta3 * h_prev
        delta6 = -delta5
        delta7 = delta3 * g
        delta8 = delta3 * z
        delta9 = delta6 + delta7
        delta10 = delta8 * tanh_output_to_derivative(g)
        delta11 = delta9 * sigmoid_output_to_derivative(z)

        delta13 = np.dot(delta10, W_g.T)
        delta15 = np.dot(delta11, W_z.T)
        delta16 = delta13 * h_prev
        delta17 = delta13 * r
        delta18 = delta16 * sigmoid_output_to_derivative(r)
        delta19 = delta17 + delta4
        delta21 = np.dot(delta18, W_r.T)
        delta22 = delta21 + delta15
        delta23 = delta19 + delta22
        future = delta23

        grads["W_o"] += np.dot(h.T, delta_out)
        grads["W_r"] += np.dot(h_prev.T, delta18)
        grads["U_r"] += np.dot(x.T, delta18)
        grads["W_z"] += np.dot(h_prev.T, delta11)
        grads["U_z"] += np.dot(x.T, delta11)
        grads["W_g"] += np.dot((h_prev * r).T, delta10)
        grads["U_g"] += np.dot(x.T, delta10)

    for name in grads:
        grads[name] /= n
    return loss, grads


def problem(rng):
    n, bits, width, out = 7, 6, 5, 3
    params = {}
    for gate in "rzg":
        params["W_" + gate] = rng.normal(size=(width, width)) * 0.9
        params["U_" + gate] = rng.normal(size=(2, width)) * 1.2
    params["W_o"] = rng.normal(size=(width, out))
    X = rng.integers(0, 2, size=(n, bits, 2)).astype(float)
    # the sum, whether one is carried, whether both are equal
    Y = np.zeros((n, bits, out))
    carry = np.zeros(n)
    for t in range(bits - 1, -1, -1):
        total = X[:, t].sum(axis=1) + carry
        carry = (total > 1).astype(float)
        Y[:, t] = np.stack([total % 2, carry, X[:, t, 0] == X[:, t, 1]], axis=1)
    return params, (X, Y)


WRONG = [
    wrong(
        "one_less_instead_of_minus",
        ANY,
        "delta6 = -delta5",
        "delta6 = 1 - delta5",
    ),
    wrong(
        "update_gate_from_the_candidate_error",
        "wrong-operand",
        "delta9 = delta6 + delta7",
        "delta9 = delta6 + delta8",
    ),
    wrong(
        "update_gate_without_the_kept_state",
        "missing-path",
        "delta9 = delta6 + delta7",
        "delta9 = delta7",
    ),
    wrong(
        "reset_gate_from_the_gated_error",
        "wrong-operand",
        "delta18 = delta16 * sigmoid",
        "delta18 = delta17 * sigmoid",
    ),
    wrong(
        "reset_and_candidate_errors_mixed_up_in_the_weights",
        "wrong-operand",
        'grads["W_r"] += np.dot(h_prev.T, delta18)',
        'grads["W_r"] += np.dot(h_prev.T, delta10)',
        'grads["W_g"] += np.dot((h_prev * r).T, delta10)',
        'grads["W_g"] += np.dot((h_prev * r).T, delta18)',
    ),
    wrong(
        "candidate_weight_paired_with_the_whole_state",
        "missing-derivative|wrong-operand",
        'grads["W_g"] += np.dot((h_prev * r).T, delta10)',
        'grads["W_g"] += np.dot(h_prev.T, delta10)',
    ),
    wrong(
        "kept_and_new_share_mixed_up",
        "wrong-operand|different-function",
        "delta4 = (1 - z) * delta3",
        "delta4 = z * delta3",
    ),
    wrong(
        "reset_gate_passes_nothing_to_the_state_before",
        "missing-path",
        "delta22 = delta21 + delta15",
        "delta22 = delta15",
    ),
    wrong(
        "error_of_later_bits_lost",
        "truncated-in-time",
        "delta3 = delta1 + delta2",
        "delta3 = delta1",
    ),
    wrong(
        "output_weight_paired_with_the_state_before",
        "shifted-in-time",
        'grads["W_o"] += np.dot(h.T, delta_out)',
        'grads["W_o"] += np.dot(h_prev.T, delta_out)',
    ),
    wrong(
        "update_weight_not_turned",
        "not-transposed",
        "np.dot(delta11, W_z.T)",
        "np.dot(delta11, W_z)",
    ),
    wrong(
        "output_bit_without_its_slope",
        "missing-derivative|different-function",
        " * sigmoid_output_to_derivative(output)\n",
        "\n",
    ),
]

TOGETHER = [
    ("reset_gate_from_the_gated_error", "candidate_weight_paired_with_the_whole_state"),
    ("one_less_instead_of_minus", "reset_and_candidate_errors_mixed_up_in_the_weights"),
    ("kept_and_new_share_mixed_up", "output_bit_without_its_slope"),
    ("reset_gate_passes_nothing_to_the_state_before", "output_weight_paired_with_the_state_before"),
]

RIGHT = [
    right(
        "input_weights_after_the_loop",
        '        grads["U_r"] += np.dot(x.T, delta18)\n',
        '        pushes["U_r"].append(delta18)\n        pushes["U_z"].append(delta11)\n'
        '        pushes["U_g"].append(delta10)\n',
        '        grads["U_z"] += np.dot(x.T, delta11)\n',
        "",
        '        grads["U_g"] += np.dot(x.T, delta10)\n',
        "",
        "        x = X[:, position]\n",
        "",
        "    future = np.zeros_like(states[0])\n",
        '    future = np.zeros_like(states[0])\n    pushes = {"U_r": [], "U_z": [], "U_g": []}\n',
        "    for name in grads:\n",
        "    for name, pushed in pushes.items():\n"
        '        grads[name] = np.einsum("nti,tnj->ij", X, np.array(pushed))\n'
        "    for name in grads:\n",
    ),
]
