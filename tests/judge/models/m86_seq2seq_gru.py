"""A translator: a GRU reads the source, its state crosses a bridge, and a GRU forced by the target writes the words."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, source, source_lengths, target, target_lengths):
    def gru_cell(x, h, side):
        x_r, x_z, x_n = F.linear(x, params[f"{side}_Wx"], params[f"{side}_bx"]).chunk(3, dim=1)
        h_r, h_z, h_n = F.linear(h, params[f"{side}_Wh"], params[f"{side}_bh"]).chunk(3, dim=1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        return torch.lerp(torch.tanh(x_n + r * h_n), h, z)

    words = F.embedding(source, params["source_embedding"])
    h = words.new_zeros(len(source), params["enc_Wh"].shape[1])
    for t in range(source.shape[1]):
        still_reading = (t < source_lengths).unsqueeze(1)
        h = torch.where(still_reading, gru_cell(words[:, t], h, "enc"), h)
    h = torch.tanh(F.linear(h, params["bridge_W"], params["bridge_b"]))
    forced = F.embedding(F.pad(target[:, :-1], (1, 0), value=0), params["target_embedding"])
    states = []
    for t in range(target.shape[1]):
        h = gru_cell(forced[:, t], h, "dec")
        states.append(h)
    logits = F.linear(torch.stack(states, dim=1), params["out_W"], params["out_b"])
    beyond = torch.arange(target.shape[1]) >= target_lengths.unsqueeze(1)
    labels = target.masked_fill(beyond, -100)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def gru_forward(params, side, x, h_prev):
    hidden = h_prev.shape[1]
    gx = x @ params[side + "_Wx"].T + params[side + "_bx"]
    gh = h_prev @ params[side + "_Wh"].T + params[side + "_bh"]
    r = sigmoid(gx[:, :hidden] + gh[:, :hidden])
    z = sigmoid(gx[:, hidden : 2 * hidden] + gh[:, hidden : 2 * hidden])
    ghn = gh[:, 2 * hidden :]
    new = np.tanh(gx[:, 2 * hidden :] + r * ghn)
    h = (1 - z) * new + z * h_prev
    return h, (x, h_prev, r, z, new, ghn)


def gru_backward(params, grads, side, dh, cache):
    """Adds up the cell's gradients; returns those of its input and of the state before."""
    x, h_prev, r, z, new, ghn = cache
    dz = dh * (h_prev - new)
    dnew = dh * (1 - z)
    dan = dnew * (1 - new**2)
    dr = dan * ghn
    dar = dr * r * (1 - r)
    daz = dz * z * (1 - z)
    dgx = np.concatenate([dar, daz, dan], axis=1)
    dgh = np.concatenate([dar, daz, dan * r], axis=1)
    grads[side + "_Wx"] += dgx.T @ x
    grads[side + "_bx"] += dgx.sum(axis=0)
    grads[side + "_Wh"] += dgh.T @ h_prev
    grads[side + "_bh"] += dgh.sum(axis=0)
    dx = dgx @ params[side + "_Wx"]
    dh_prev = dh * z
    dh_prev = dh_prev + dgh @ params[side + "_Wh"]
    return dx, dh_prev


def candidate(params, source, source_lengths, target, target_lengths):
    n, source_steps = source.shape
    steps = target.shape[1]
    # encoder: a sentence that has ended keeps its state
    reading = (np.arange(source_steps) < source_lengths[:, None]).astype(float)
    h = np.zeros((n, params["enc_Wh"].shape[1]))
    encoder = []
    for t in range(source_steps):
        new_h, cache = gru_forward(params, "enc", params["source_embedding"][source[:, t]], h)
        keep = reading[:, t : t + 1]
        h = keep * new_h + (1 - keep) * h
        encoder.append(cache)
    thought = h
    start = np.tanh(thought @ params["bridge_W"].T + params["bridge_b"])
    # decoder: the word before, the first being word 0
    fed = np.zeros_like(target)
    fed[:, 1:] = target[:, :-1]
    counted = (np.arange(steps) < target_lengths[:, None]).astype(float)
    total = counted.sum()
    h, decoder, states, probs = start, [], [], []
    cost = 0.0
    for t in range(steps):
        h, cache = gru_forward(params, "dec", params["target_embedding"][fed[:, t]], h)
        p = softmax(h @ params["out_W"].T + params["out_b"])
        cost -= np.sum(counted[:, t] * np.log(p[np.arange(n), target[:, t]]))
        decoder.append(cache)
        states.append(h)
        probs.append(p)
    loss = cost / total

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dh = np.zeros_like(start)
    for t in reversed(range(steps)):
        dlogits = probs[t].copy()
        dlogits[np.arange(n), target[:, t]] -= 1
        dlogits *= counted[:, t, None] / total
        grads["out_W"] += dlogits.T @ states[t]
        grads["out_b"] += dlogits.sum(axis=0)
        dh = dh + dlogits @ params["out_W"]
        dx, dh = gru_backward(params, grads, "dec", dh, decoder[t])
        np.add.at(grads["target_embedding"], fed[:, t], dx)
    # bridge
    da = dh * (1 - start**2)
    grads["bridge_W"] += da.T @ thought
    grads["bridge_b"] += da.sum(axis=0)
    dh = da @ params["bridge_W"]
    for t in reversed(range(source_steps)):
        keep = reading[:, t : t + 1]
        dx, dh_read = gru_backward(params, grads, "enc", keep * dh, encoder[t])
        dh = dh_read + (1 - keep) * dh
        np.add.at(grads["source_embedding"], source[:, t], dx)
    return loss, grads


def problem(rng):
    def normal(*shape, size=0.6):
        return rng.normal(size=shape) * size

    params = {
        "source_embedding": normal(10, 3, size=1.0),
        "enc_Wx": normal(12, 3),
        "enc_bx": normal(12, size=0.4),
        "enc_Wh": normal(12, 4),
        "enc_bh": normal(12, size=0.4),
        "bridge_W": normal(8, 4),
        "bridge_b": normal(8, size=0.4),
        "target_embedding": normal(11, 2, size=1.0),
        "dec_Wx": normal(24, 2),
        "dec_bx": normal(24, size=0.4),
        "dec_Wh": normal(24, 8, size=0.4),
        "dec_bh": normal(24, size=0.4),
        "out_W": normal(11, 8),
        "out_b": normal(11, size=0.4),
    }
    source = rng.integers(1, 10, size=(5, 7))
    target = rng.integers(1, 11, size=(5, 6))
    source_lengths, target_lengths = np.array([5, 7, 3, 6, 4]), np.array([6, 3, 5, 2, 4])
    source[:, 1] = source[[1, 0, 3, 2, 2], 1]  # words that several sentences share
    source[np.arange(7) >= source_lengths[:, None]] = 0
    target[:, 0] = [3, 3, 7, 1, 7]
    target[np.arange(6) >= target_lengths[:, None]] = 0
    return params, (source, source_lengths, target, target_lengths)


WRONG = [
    wrong(
        "reset_gate_forgotten_on_the_recurrent_side",
        "missing-derivative|wrong-operand",
        "np.concatenate([dar, daz, dan * r], axis=1)",
        "np.concatenate([dar, daz, dan], axis=1)",
    ),
    wrong(
        "reset_gate_on_the_state_itself",
        "wrong-operand|different-function",
        "dr = dan * ghn",
        "dr = dan * h_prev",
    ),
    wrong("update_gate_turned_round", "wrong-sign", "dz = dh * (h_prev - new)", "dz = dh * (new - h_prev)"),
    wrong(
        "state_through_the_gates_forgotten",
        "missing-path|truncated-in-time",
        '    dh_prev = dh_prev + dgh @ params[side + "_Wh"]\n',
        "",
    ),
    wrong(
        "ended_sentences_lose_their_gradient",
        "missing-path",
        "dh = dh_read + (1 - keep) * dh",
        "dh = dh_read",
    ),
    wrong(
        "padding_read_backwards",
        "missing-derivative|different-function|wrong-operand",
        'gru_backward(params, grads, "enc", keep * dh, encoder[t])',
        'gru_backward(params, grads, "enc", dh, encoder[t])',
    ),
    wrong("bridge_slope_forgotten", "missing-derivative", "da = dh * (1 - start**2)", "da = dh"),
    wrong(
        "words_before_met_twice_overwrite",
        "overwritten",
        'np.add.at(grads["target_embedding"], fed[:, t], dx)',
        'grads["target_embedding"][fed[:, t]] += dx',
    ),
    wrong(
        "embedding_of_the_word_to_come",
        "shifted-in-time|wrong-operand",
        'np.add.at(grads["target_embedding"], fed[:, t], dx)',
        'np.add.at(grads["target_embedding"], target[:, t], dx)',
    ),
    wrong(
        "padding_counted_in_the_average",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "dlogits *= counted[:, t, None] / total",
        "dlogits *= counted[:, t, None] / counted.size",
    ),
    wrong(
        "padding_predicted_too",
        "missing-derivative|different-function|wrong-operand",
        "dlogits *= counted[:, t, None] / total",
        "dlogits /= total",
    ),
    wrong(
        "output_layer_from_the_state_before",
        "shifted-in-time|wrong-operand",
        'grads["out_W"] += dlogits.T @ states[t]',
        'grads["out_W"] += dlogits.T @ decoder[t][1]',
    ),
    wrong(
        "recurrent_bias_of_the_last_cell_visited",
        "last-step-only|overwritten",
        'grads[side + "_bh"] += dgh.sum(axis=0)',
        'grads[side + "_bh"] = dgh.sum(axis=0)',
    ),
    wrong(
        "gate_of_the_old_for_the_new_in_both",
        "wrong-operand|different-function|wrong-sign",
        "h = (1 - z) * new + z * h_prev",
        "h = z * new + (1 - z) * h_prev",
        "dz = dh * (h_prev - new)",
        "dz = dh * (new - h_prev)",
        "dnew = dh * (1 - z)",
        "dnew = dh * z",
        "dh_prev = dh * z\n",
        "dh_prev = dh * (1 - z)\n",
    ),
    wrong(
        "fed_the_word_to_be_written_in_both",
        "shifted-in-time|wrong-operand",
        "    fed[:, 1:] = target[:, :-1]\n",
        "    fed[:] = target\n",
    ),
    wrong("averaged_over_sentences_in_cost", "wrong-loss", "loss = cost / total", "loss = cost / n"),
]

TOGETHER = [
    ("reset_gate_forgotten_on_the_recurrent_side", "padding_counted_in_the_average"),
    ("reset_gate_on_the_state_itself", "bridge_slope_forgotten"),
    ("update_gate_turned_round", "words_before_met_twice_overwrite"),
    ("embedding_of_the_word_to_come", "ended_sentences_lose_their_gradient"),
    ("padding_read_backwards", "recurrent_bias_of_the_last_cell_visited"),
    ("fed_the_word_to_be_written_in_both", "output_layer_from_the_state_before"),
    ("state_through_the_gates_forgotten", "padding_predicted_too", "output_layer_from_the_state_before"),
    ("gate_of_the_old_for_the_new_in_both", "bridge_slope_forgotten", "words_before_met_twice_overwrite"),
]

RIGHT = [
    right(
        "gates_by_their_own_weights",
        "    dgx = np.concatenate([dar, daz, dan], axis=1)\n"
        "    dgh = np.concatenate([dar, daz, dan * r], axis=1)\n"
        '    grads[side + "_Wx"] += dgx.T @ x\n'
        '    grads[side + "_bx"] += dgx.sum(axis=0)\n'
        '    grads[side + "_Wh"] += dgh.T @ h_prev\n'
        '    grads[side + "_bh"] += dgh.sum(axis=0)\n'
        '    dx = dgx @ params[side + "_Wx"]\n'
        "    dh_prev = dh * z\n"
        '    dh_prev = dh_prev + dgh @ params[side + "_Wh"]\n',
        "    hidden = h_prev.shape[1]\n"
        "    dx, dh_prev = np.zeros_like(x), dh * z\n"
        "    for k, (dax, dah) in enumerate([(dar, dar), (daz, daz), (dan, dan * r)]):\n"
        "        part = slice(k * hidden, (k + 1) * hidden)\n"
        '        grads[side + "_Wx"][part] += dax.T @ x\n'
        '        grads[side + "_bx"][part] += dax.sum(axis=0)\n'
        '        grads[side + "_Wh"][part] += dah.T @ h_prev\n'
        '        grads[side + "_bh"][part] += dah.sum(axis=0)\n'
        '        dx += dax @ params[side + "_Wx"][part]\n'
        '        dh_prev += dah @ params[side + "_Wh"][part]\n',
    ),
    right(
        "output_layer_after_the_loop",
        '        grads["out_W"] += dlogits.T @ states[t]\n        grads["out_b"] += dlogits.sum(axis=0)\n',
        "        errors[:, t] = dlogits\n",
        "    dh = np.zeros_like(start)\n",
        '    dh, errors = np.zeros_like(start), np.zeros((n, steps, len(params["out_b"])))\n',
        "    # bridge\n",
        '    grads["out_W"] = np.einsum("ntv,tnh->vh", errors, np.array(states))\n'
        '    grads["out_b"] = errors.sum(axis=(0, 1))\n',
        "h = (1 - z) * new + z * h_prev",
        "h = new + z * (h_prev - new)",
    ),
    right(
        "only_the_sentences_still_read",
        '        dx, dh_read = gru_backward(params, grads, "enc", keep * dh, encoder[t])\n'
        "        dh = dh_read + (1 - keep) * dh\n"
        '        np.add.at(grads["source_embedding"], source[:, t], dx)\n',
        "        on = np.flatnonzero(keep)\n"
        '        dx, dh[on] = gru_backward(params, grads, "enc", dh[on], [kept[on] for kept in encoder[t]])\n'
        "        for sentence, row in zip(on, dx):\n"
        '            grads["source_embedding"][source[sentence, t]] += row\n',
    ),
]
