"""Linear regression by gradient descent: y_hat = X w + b; with one feature, a straight line of slope w and intercept b.

With the residuals e = y_hat - y of n samples there are three losses to choose from, all of them functions of the mean
squared error (1/n) sum(e^2), which is what the chain rule goes through:

    "mse"        L = mse               dmse = 1
    "half_mse"   L = mse / 2           dmse = 1/2
    "rmse"       L = sqrt(mse)         dmse = 1 / (2 L)
    dy_hat = dmse (2/n) e              dw = X^T dy_hat              db = sum(dy_hat)

Every sample is predicted before anything is summed, and w and b move at the same time. Where all residuals are zero the
root-mean-square error has a kink, as |e| has at 0: its gradient is taken to be 0 there (torch's is NaN).
Source: Goodfellow, Bengio and Courville, "Deep Learning" (2016), sections 5.1.4 and 5.9; torch.nn.MSELoss.
"""

import numpy as np


def loss_and_grads(params, X, y, *, error="mse"):
    """The loss of all samples and its gradients.

    params: "w" (features,), "b" (). X: (samples, features). y: (samples,). Raises ValueError where y has another shape,
    and for an unknown error.
    """
    check(X, y)
    n = len(y)
    y_hat = X @ params["w"] + params["b"]  # (samples,)
    e = y_hat - y  # (samples,)
    loss, dmse = loss_of_mse(e @ e / n, error)
    dy_hat = dmse * 2 / n * e  # (samples,)
    return loss, {"w": X.T @ dy_hat, "b": dy_hat.sum()}


def loss_and_grads_per_sample(params, X, y, *, error="mse"):
    """The same by a loop: predict one sample, add its share to the sums, go to the next."""
    check(X, y)
    n = len(y)
    mse, dw, db = 0.0, np.zeros_like(params["w"]), np.zeros_like(params["b"])
    for x_i, y_i in zip(X, y, strict=True):
        y_hat_i = params["b"]
        for w_k, x_ik in zip(params["w"], x_i, strict=True):
            y_hat_i = y_hat_i + w_k * x_ik
        e_i = y_hat_i - y_i
        mse = mse + e_i**2 / n
        dw = dw + 2 / n * e_i * x_i
        db = db + 2 / n * e_i
    loss, dmse = loss_of_mse(mse, error)
    return loss, {"w": dmse * dw, "b": dmse * db}


def loss_and_grads_tuned(params, X, y, *, error="mse"):
    """The same with one array of n numbers, changed in place, and the factor put on the sums instead of on each term.

    `X.dot(w)` for `X @ w`: for one feature NumPy's `@` leaves the fast library routine and is ten times slower.
    """
    check(X, y)
    n = len(y)
    e = X.dot(params["w"])
    e += params["b"]
    e -= y
    loss, dmse = loss_of_mse(e.dot(e) / n, error)
    return loss, {"w": dmse * 2 / n * e.dot(X), "b": dmse * 2 / n * e.sum()}


def loss_of_mse(mse, error):
    """The loss as a function of the mean squared error, and its derivative by it."""
    if error == "mse":
        return mse, 1.0
    if error == "half_mse":
        return mse / 2, 0.5
    if error == "rmse":
        rmse = np.sqrt(mse)
        return rmse, 0.5 / rmse if rmse != 0 else 0.0
    raise ValueError(f"error must be 'mse', 'half_mse' or 'rmse', not {error!r}")


def check(X, y):
    """Raise ValueError where y is a column: (n,) less (n, 1) would become (n, n) without a word."""
    if np.shape(y) != (len(X),):
        raise ValueError(f"y must have the shape (samples,), here ({len(X)},); it has {np.shape(y)}")


def update(params, X, y, *, learning_rate, error="mse"):
    """The parameters after one step down the gradient; `params` is left as it is."""
    _, grads = loss_and_grads(params, X, y, error=error)
    return {name: value - learning_rate * grads[name] for name, value in params.items()}


def gradient_descent(params, X, y, *, learning_rate, epochs, batch_size=None, error="mse", rng=None):
    """Yield the parameters after every step.

    batch_size: samples to a step; None takes all of them (full batch), 1 goes sample by sample ("stochastic"). Where it
    does not divide n, the last batch of an epoch is smaller, and is averaged over its own samples. rng: an
    np.random.Generator that shuffles the samples anew for every epoch; without it they keep their order.
    """
    n = len(y)
    size = n if batch_size is None else batch_size
    for _ in range(epochs):
        order = np.arange(n) if rng is None else rng.permutation(n)
        for start in range(0, n, size):
            batch = order[start : start + size]
            params = update(params, X[batch], y[batch], learning_rate=learning_rate, error=error)
            yield params
