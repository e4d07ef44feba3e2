"""The targets are a column, the predictions are not: their difference has a row for each target.

Symptom: no error message; the line ends flat, at the mean of y, however clear the slope is.
Why: (n,) less (n, 1) is (n, n): every prediction less every target. The mean over both axes asks each prediction to be
    near all targets at once, and the best answer to that is their mean.
Fix: one shape for both: y of shape (n,), or predictions y_hat[:, None]
"""

import numpy as np

from numpy_impls.models.linear_regression import gradient_descent, loss_of_mse, update

CODES = ("broadcast",)

__all__ = ["CODES", "gradient_descent", "loss_and_grads", "update"]


def loss_and_grads(params, X, y, *, error="mse"):
    y = y.reshape(-1, 1)
    e = X @ params["w"] + params["b"] - y
    loss, dmse = loss_of_mse(np.mean(e**2), error)
    return loss, {"w": dmse * 2 * np.mean(e[:, :, None] * X, axis=(0, 1)), "b": dmse * 2 * np.mean(e)}
