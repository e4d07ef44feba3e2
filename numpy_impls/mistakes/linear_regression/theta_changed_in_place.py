"""The step writes into the caller's array.

Symptom: two methods started from "the same" theta do not start from the same: the second starts where the first ended,
    and a plot of both starts shows one point.
Why: `theta -= ...` writes into the array that the caller holds; `theta = theta - ...` makes a new one. A function that
    returns its result should not also change its arguments.
Fix: w = params["w"] - learning_rate * grads["w"]
"""

from numpy_impls.models.linear_regression import gradient_descent, loss_and_grads

CODES = ("input-modified",)

__all__ = ["CODES", "gradient_descent", "loss_and_grads", "update"]


def update(params, X, y, *, learning_rate, error="mse"):
    _, grads = loss_and_grads(params, X, y, error=error)
    for name in params:
        params[name] -= learning_rate * grads[name]
    return params
