"""A neuro-fuzzy system (ANFIS): bell-shaped memberships, rules that multiply them, linear answers, all in loops."""

import numpy as np

from tests.judge.corpus import right, wrong


def reference(params, X, y):
    t = ((X[:, None, :] - params["c"]) / params["a"]) ** 2
    mu = 1 / (1 + t ** params["b"])
    w = mu.prod(dim=2)
    answers = X @ params["p"].T + params["r"]
    out = (w * answers).sum(dim=1) / w.sum(dim=1)
    return ((out - y) ** 2).mean() / 2 + 0.15 * (params["p"] ** 2).sum()


def distance(x, a, c):
    return ((x - c) / a) ** 2


def bell(x, a, b, c):
    return 1.0 / (1.0 + distance(x, a, c) ** b)


def candidate(params, X, y):
    a = params["a"]
    b = params["b"]
    c = params["c"]
    p = params["p"]
    r = params["r"]
    lam = 0.3
    n = X.shape[0]
    d = X.shape[1]
    R = a.shape[0]

    # forward, layers 1 to 5
    mu = np.zeros((n, R, d))
    w = np.ones((n, R))
    S = np.zeros(n)
    wn = np.zeros((n, R))
    f = np.zeros((n, R))
    out = np.zeros(n)
    for i in range(n):
        for k in range(R):
            for j in range(d):
                mu[i, k, j] = bell(X[i, j], a[k, j], b[k, j], c[k, j])
                w[i, k] = w[i, k] * mu[i, k, j]
            S[i] = S[i] + w[i, k]
        for k in range(R):
            wn[i, k] = w[i, k] / S[i]
            f[i, k] = r[k]
            for j in range(d):
                f[i, k] = f[i, k] + p[k, j] * X[i, j]
            out[i] = out[i] + wn[i, k] * f[i, k]
    loss = np.sum((out - y) ** 2) / (2 * n) + lam / 2 * np.sum(p**2)

    # backward
    da = np.zeros((R, d))
    db = np.zeros((R, d))
    dc = np.zeros((R, d))
    dp = np.zeros((R, d))
    dr = np.zeros(R)
    for i in range(n):
        e = (out[i] - y[i]) / n
        for k in range(R):
            dr[k] += e * wn[i, k]
            for j in range(d):
                dp[k, j] += e * wn[i, k] * X[i, j]
            dw = e * (f[i, k] - out[i]) / S[i]
            for j in range(d):
                others = w[i, k] / mu[i, k, j]
                dmu = dw * others
                m = mu[i, k, j]
                u = m * (1 - m)
                v = X[i, j] - c[k, j]
                da[k, j] += dmu * 2 * b[k, j] / a[k, j] * u
                db[k, j] -= dmu * u * np.log(distance(X[i, j], a[k, j], c[k, j]))
                dc[k, j] += dmu * 2 * b[k, j] * u / v
    for k in range(R):
        for j in range(d):
            dp[k, j] += lam * p[k, j]
    return loss, {"a": da, "b": db, "c": dc, "p": dp, "r": dr}


def problem(rng):
    n, R, d = 8, 4, 3
    params = {
        "a": rng.uniform(0.8, 1.9, size=(R, d)),
        "b": rng.uniform(0.7, 1.8, size=(R, d)),
        "c": rng.normal(size=(R, d)),
        "p": rng.normal(size=(R, d)),
        "r": rng.normal(size=R),
    }
    return params, (rng.normal(size=(n, d)), rng.normal(size=n) * 2)


WRONG = [
    wrong(
        "sum_of_the_rules_taken_as_constant",
        "missing-path|diagonal-jacobian",
        "dw = e * (f[i, k] - out[i]) / S[i]",
        "dw = e * f[i, k] / S[i]",
    ),
    wrong(
        "not_divided_by_the_sum_of_the_rules",
        "missing-derivative",
        "dw = e * (f[i, k] - out[i]) / S[i]",
        "dw = e * (f[i, k] - out[i])",
    ),
    wrong(
        "product_of_all_memberships_for_the_others",
        "wrong-operand|extra-derivative|different-function",
        "others = w[i, k] / mu[i, k, j]",
        "others = w[i, k]",
    ),
    wrong("other_memberships_forgotten", "missing-derivative", "dmu = dw * others", "dmu = dw"),
    wrong(
        "half_of_the_bell_slope",
        "missing-derivative|different-function",
        "u = m * (1 - m)",
        "u = m",
    ),
    wrong("centres_pushed_away", "wrong-sign", "dc[k, j] += dmu", "dc[k, j] -= dmu"),
    wrong("widths_keep_the_last_sample", "overwritten|one-sample-only", "da[k, j] += dmu", "da[k, j] = dmu"),
    wrong(
        "slopes_weighted_by_raw_firing_strengths",
        "wrong-operand|missing-derivative",
        "dp[k, j] += e * wn[i, k] * X[i, j]",
        "dp[k, j] += e * w[i, k] * X[i, j]",
    ),
    wrong(
        "log_of_the_distance_not_squared",
        "wrong-scale",
        "np.log(distance(X[i, j], a[k, j], c[k, j]))",
        "np.log(abs(v) / a[k, j])",
    ),
    wrong("cost_without_its_half", "wrong-loss|wrong-term-weight", "/ (2 * n) + lam", "/ n + lam"),
    wrong(
        "penalty_without_lambda",
        "wrong-term-weight|wrong-scale",
        "dp[k, j] += lam * p[k, j]",
        "dp[k, j] += p[k, j]",
    ),
    wrong(
        "distance_not_squared_in_both",
        "different-function",
        "return ((x - c) / a) ** 2",
        "return abs((x - c) / a)",
        "da[k, j] += dmu * 2 * b[k, j]",
        "da[k, j] += dmu * b[k, j]",
        "dc[k, j] += dmu * 2 * b[k, j]",
        "dc[k, j] += dmu * b[k, j]",
    ),
    wrong(
        "sample_looked_up_by_the_rule",
        "wrong-operand",
        "dp[k, j] += e * wn[i, k] * X[i, j]",
        "dp[k, j] += e * wn[i, k] * X[k, j]",
    ),
    wrong(
        "error_not_averaged",
        "wrong-term-weight|wrong-reduction|wrong-scale",
        "e = (out[i] - y[i]) / n",
        "e = out[i] - y[i]",
    ),
]

TOGETHER = [
    ("sum_of_the_rules_taken_as_constant", "slopes_weighted_by_raw_firing_strengths"),
    ("not_divided_by_the_sum_of_the_rules", "penalty_without_lambda"),
    ("product_of_all_memberships_for_the_others", "centres_pushed_away"),
    ("other_memberships_forgotten", "cost_without_its_half"),
    ("half_of_the_bell_slope", "sample_looked_up_by_the_rule"),
    ("centres_pushed_away", "log_of_the_distance_not_squared"),
    ("widths_keep_the_last_sample", "penalty_without_lambda"),
    ("error_not_averaged", "other_memberships_forgotten"),
    ("sum_of_the_rules_taken_as_constant", "centres_pushed_away", "penalty_without_lambda"),
    ("other_memberships_forgotten", "slopes_weighted_by_raw_firing_strengths", "log_of_the_distance_not_squared"),
]

RIGHT = [
    right(
        "others_multiplied_one_by_one",
        "                others = w[i, k] / mu[i, k, j]\n",
        "                others = 1.0\n"
        "                for q in range(d):\n"
        "                    if q != j:\n"
        "                        others = others * mu[i, k, q]\n",
        "dp[k, j] += e * wn[i, k] * X[i, j]",
        "dp[k, j] = dp[k, j] + (out[i] - y[i]) * X[i, j] * w[i, k] / (n * S[i])",
    ),
    right(
        "quotient_rule_written_out_and_penalty_first",
        "dw = e * (f[i, k] - out[i]) / S[i]",
        "dw = e * (f[i, k] * S[i] - np.sum(w[i] * f[i])) / S[i] ** 2",
        "    dp = np.zeros((R, d))\n",
        "    dp = lam * p\n",
        "    for k in range(R):\n        for j in range(d):\n            dp[k, j] += lam * p[k, j]\n",
        "",
    ),
]
