"""Every target is compared with one prediction, that for the last sample.

Symptom: the line runs away: (7.1, -27.5) after 1,000 steps where least squares makes (3.00, 3.93), and never at rest.
Why: `ypred = m * x_i + b` stands in a loop over the samples, the sums over all of them after it: at that point ypred is
    one number, the last. Both sums cannot be zero at once for one number; what is left moves the line by the same
    amount at every step, for ever: m up, b down, the last prediction itself unchanged.
Fix: y_hat = X @ w + b, one prediction for each sample, and no loop
"""

from numpy_impls.models.linear_regression import gradient_descent, loss_and_grads

CODES = ("wrong-operand",)

__all__ = ["CODES", "gradient_descent", "loss_and_grads", "update"]


def update(params, X, y, *, learning_rate):
    n = len(y)
    w, b = params["w"], params["b"]
    for x_i in X:
        y_hat = w @ x_i + b
    dw = -(2 / n) * ((y - y_hat) @ X)
    db = -(2 / n) * (y - y_hat).sum()
    return {"w": w - learning_rate * dw, "b": b - learning_rate * db}
