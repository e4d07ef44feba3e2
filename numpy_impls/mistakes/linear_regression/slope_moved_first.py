"""The intercept's gradient is computed with the slope that has just been moved.

Symptom: the slope's first step is right and the intercept's is not; after many steps the line is right all the same.
Why: the gradient is taken at one point, and all its parts belong to that point. Here db belongs to a line that nobody
    had: the new slope with the old intercept.
Fix: both gradients first, then both steps
"""

from numpy_impls.models.linear_regression import gradient_descent, loss_and_grads

CODES = ("wrong-operand",)

__all__ = ["CODES", "gradient_descent", "loss_and_grads", "update"]


def update(params, X, y, *, learning_rate, error="mse"):
    w = params["w"] - learning_rate * loss_and_grads(params, X, y, error=error)[1]["w"]
    moved = {"w": w, "b": params["b"]}
    b = params["b"] - learning_rate * loss_and_grads(moved, X, y, error=error)[1]["b"]
    return {"w": w, "b": b}
