"""The error is taken as target less prediction, and the step is still a subtraction.

Symptom: the loss grows at every step, until it overflows.
Why: (y - y_hat)^2 is the same loss, but the derivative of y - y_hat by y_hat is -1. The posted codes carry that minus
    in front of their sums, `-(2/N) sum(x (y - ypred))`; without it the step goes up the hill.
Fix: e = y_hat - y
"""

from numpy_impls.models import linear_regression
from numpy_impls.models.linear_regression import gradient_descent, update

CODES = ("wrong-sign",)

__all__ = ["CODES", "gradient_descent", "loss_and_grads", "update"]


def loss_and_grads(params, X, y, *, error="mse"):
    loss, grads = linear_regression.loss_and_grads(params, X, y, error=error)
    return loss, {name: -grad for name, grad in grads.items()}
