"""The sums over the samples are assigned where they should be added up: the last sample's share is left.

Symptom: the line goes through the last point and stops there.
Why: `dw = ...` in a loop keeps the last round's value; n - 1 samples have been computed and thrown away.
Fix: dw += dmse * 2 / n * e_i * x_i, starting from zero
"""

from numpy_impls.models.linear_regression import gradient_descent, loss_of_mse, update

CODES = ("one-sample-only",)

__all__ = ["CODES", "gradient_descent", "loss_and_grads", "update"]


def loss_and_grads(params, X, y, *, error="mse"):
    n = len(y)
    e = X @ params["w"] + params["b"] - y
    loss, dmse = loss_of_mse(e @ e / n, error)
    for x_i, e_i in zip(X, e, strict=True):
        dw = dmse * 2 / n * e_i * x_i
        db = dmse * 2 / n * e_i
    return loss, {"w": dw, "b": db}
