"""Linear regression in torch, forward only: y_hat = X w + b under a squared error."""

import torch


def loss(params, X, y, *, error="mse"):
    """The loss of all samples: "mse" (mean), "half_mse" (half of it) or "rmse" (its root).

    params: "w" (features,), "b" (). X: (samples, features). y: (samples,).
    """
    e = X @ params["w"] + params["b"] - y  # (samples,)
    mse = torch.mean(e**2)
    if error == "mse":
        return mse
    if error == "half_mse":
        return mse / 2
    if error == "rmse":
        return torch.sqrt(mse)
    raise ValueError(f"error must be 'mse', 'half_mse' or 'rmse', not {error!r}")
