"""An Elman network, in torch: the loop over time in plain operations; the loss holds the output's sigmoid."""

import torch
import torch.nn.functional as F

ACTIVATIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "linear": lambda z: z}


def squared_error(o, target):
    """Half the squared error of sigmoid(o) (batch, outputs): mean over samples, sum over outputs."""
    y = torch.sigmoid(o)
    return ((y - target) ** 2).sum() / (2 * len(o))


def cross_entropy(o, target):
    """Cross-entropy of sigmoid(o) (batch, outputs): mean over samples, sum over outputs."""
    return F.binary_cross_entropy_with_logits(o, target, reduction="sum") / len(o)


LOSSES = {"squared_error": squared_error, "cross_entropy": cross_entropy}


def loss(params, x, target, *, activation="tanh", readout="linear", loss_at="last", output_loss="squared_error"):
    """The loss of the last step; with loss_at="every" the losses of all steps by name, whose sum is the loss."""
    f, g, of_step = ACTIVATIONS[activation], ACTIVATIONS[readout], LOSSES[output_loss]
    n, steps = x.shape[:2]
    h = params["h_0"].expand(n, -1)  # (batch, hidden)
    terms = {}
    for t in range(steps):
        h = f(x[:, t] @ params["W_xh"] + h @ params["W_hh"] + params["b_h"])
        if loss_at == "every":
            terms[f"step {t}"] = of_step(g(h) @ params["W_hy"] + params["b_y"], target[:, t])
    return terms if loss_at == "every" else of_step(g(h) @ params["W_hy"] + params["b_y"], target)
