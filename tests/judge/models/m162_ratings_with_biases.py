"""Rating prediction: factors of users and items, a bias of each, the global mean, every rating shrinks what it uses."""

import numpy as np

from tests.judge.corpus import right, wrong


def reference(params, users, items, ratings):
    P, Q, bu, bi = params["P"][users], params["Q"].T[items], params["bu"][users], params["bi"][items]
    prediction = (P * Q).sum(dim=1) + bu + bi + ratings.mean()
    size = (P**2).sum(dim=1) + (Q**2).sum(dim=1) + bu**2 + bi**2
    return {"fit": 0.5 * ((prediction - ratings) ** 2).mean(), "penalty": 0.5 * 0.3 * size.mean()}


def predict(params, i, j, mu):
    return params["P"][i] @ params["Q"][:, j] + mu + params["bu"][i] + params["bi"][j]


def candidate(params, users, items, ratings, beta=0.3):
    P, Q, bu, bi = params["P"], params["Q"], params["bu"], params["bi"]
    n = len(ratings)
    mu = ratings.mean()

    cost = 0.0
    errors = []
    for i, j, r in zip(users, items, ratings, strict=True):
        error = predict(params, i, j, mu) - r
        cost += 0.5 * error**2
        cost += 0.5 * beta * (P[i] @ P[i] + Q[:, j] @ Q[:, j] + bu[i] ** 2 + bi[j] ** 2)
        errors.append(error)
    loss = cost / n

    gP, gQ = np.zeros_like(P), np.zeros_like(Q)
    gbu, gbi = np.zeros_like(bu), np.zeros_like(bi)
    for i, j, error in zip(users, items, errors, strict=True):
        # biases, the global one is a constant
        gbu[i] += error + beta * bu[i]
        gbi[j] += error + beta * bi[j]
        # factors
        p, q = P[i], Q[:, j]
        gP[i] += error * q + beta * p
        gQ[:, j] += error * p + beta * q
    grads = {"P": gP / n, "Q": gQ / n, "bu": gbu / n, "bi": gbi / n}
    return loss, grads


def problem(rng):
    params = {
        "P": rng.normal(size=(5, 3)) * 0.8,
        "Q": rng.normal(size=(3, 4)) * 0.8,
        "bu": rng.normal(size=5) * 0.5,
        "bi": rng.normal(size=4) * 0.5,
    }
    users = np.array([0, 3, 1, 4, 2, 3, 1])
    items = np.array([2, 1, 0, 3, 2, 0, 2])
    return params, (users, items, rng.uniform(1, 5, size=7))


WRONG = [
    wrong(
        "every_user_gets_the_error_of_every_rating",
        "wrong-reduction|wrong-axis",
        "gbu[i] += error + beta * bu[i]",
        "gbu += error + beta * bu[i]",
    ),
    wrong(
        "every_bias_gets_every_error",
        ("wrong-reduction|wrong-axis", "wrong-reduction|wrong-axis"),
        "gbu[i] += error + beta * bu[i]",
        "gbu += error + beta * bu[i]",
        "gbi[j] += error + beta * bi[j]",
        "gbi += error + beta * bi[j]",
    ),
    wrong(
        "factors_grow_where_they_should_shrink",
        "wrong-sign|wrong-term-weight",
        "gP[i] += error * q + beta * p",
        "gP[i] += error * q - beta * p",
        "gQ[:, j] += error * p + beta * q",
        "gQ[:, j] += error * p - beta * q",
    ),
    wrong(
        "items_see_the_users_after_their_step",
        "wrong-operand",
        "        gQ[:, j] += error * p + beta * q",
        "        p = p - 0.1 * (error * q + beta * p)\n        gQ[:, j] += error * p + beta * q",
    ),
    wrong(
        "item_bias_not_shrunk",
        "wrong-part-penalised",
        "gbi[j] += error + beta * bi[j]",
        "gbi[j] += error",
    ),
    wrong(
        "last_rating_of_a_user_counts",
        "overwritten",
        "gP[i] += error * q + beta * p",
        "gP[i] = error * q + beta * p",
    ),
    wrong(
        "two_of_the_square_kept_for_the_errors",
        "wrong-term-weight|wrong-scale",
        "        errors.append(error)",
        "        errors.append(2 * error)",
    ),
    wrong(
        "biases_summed_over_the_ratings",
        "wrong-scale|wrong-reduction",
        '"bu": gbu / n, "bi": gbi / n',
        '"bu": gbu, "bi": gbi',
    ),
    wrong(
        "rating_minus_prediction",
        "wrong-sign|wrong-term-weight",
        "        # biases, the global one is a constant\n",
        "        error = -error\n",
    ),
    wrong(
        "item_factors_shrunk_by_the_users",
        "wrong-operand",
        "gQ[:, j] += error * p + beta * q",
        "gQ[:, j] += error * p + beta * p",
    ),
    wrong(
        "user_bias_forgotten_in_the_prediction_of_both",
        "different-function|missing-path",
        ' + mu + params["bu"][i] + params["bi"][j]',
        ' + mu + params["bi"][j]',
    ),
    wrong(
        "biases_not_in_the_penalty_of_the_cost",
        "wrong-loss",
        "Q[:, j] @ Q[:, j] + bu[i] ** 2 + bi[j] ** 2)",
        "Q[:, j] @ Q[:, j])",
    ),
]

TOGETHER = [
    ("factors_grow_where_they_should_shrink", "every_user_gets_the_error_of_every_rating"),
    ("items_see_the_users_after_their_step", "item_bias_not_shrunk"),
    ("last_rating_of_a_user_counts", "biases_summed_over_the_ratings"),
    ("two_of_the_square_kept_for_the_errors", "item_factors_shrunk_by_the_users"),
]

RIGHT = [
    right(
        "all_ratings_at_once",
        "    for i, j, error in zip(users, items, errors, strict=True):\n"
        "        # biases, the global one is a constant\n"
        "        gbu[i] += error + beta * bu[i]\n"
        "        gbi[j] += error + beta * bi[j]\n"
        "        # factors\n"
        "        p, q = P[i], Q[:, j]\n"
        "        gP[i] += error * q + beta * p\n"
        "        gQ[:, j] += error * p + beta * q\n",
        "    e = np.array(errors)\n"
        "    np.add.at(gbu, users, e + beta * bu[users])\n"
        "    np.add.at(gbi, items, e + beta * bi[items])\n"
        "    np.add.at(gP, users, e[:, None] * Q[:, items].T + beta * P[users])\n"
        "    np.add.at(gQ.T, items, e[:, None] * P[users] + beta * Q[:, items].T)\n",
    ),
]
