"""A portfolio rebalanced daily by signals: softmax holdings, a cash share, costs of turnover; the Sharpe ratio."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the ratio and the turnover couple all days


def reference(params, signals, returns):
    holdings = F.softmax(signals @ params["W"] + params["b"], dim=-1)
    invested = torch.sigmoid(signals @ params["v"] + params["c"])
    position = invested.unsqueeze(-1) * holdings
    before = torch.cat([torch.zeros_like(position[:1]), position[:-1]])
    turnover = (position - before).abs().sum(dim=-1)
    pnl = (position * returns).sum(dim=-1) - 0.15 * turnover
    sharpe = pnl.mean() / (pnl.std() + 1e-3)
    crowding = holdings.pow(2).sum(dim=-1).mean()
    return {"sharpe": -sharpe * 252**0.5, "crowding": 4.0 * crowding}


def forward(params, signals, returns):
    s = signals @ params["W"] + params["b"]
    w = np.exp(s - s.max(axis=1, keepdims=True))
    w = w / w.sum(axis=1, keepdims=True)
    e = 1 / (1 + np.exp(-(signals @ params["v"] + params["c"])))
    position = e[:, None] * w
    trade = np.diff(position, axis=0, prepend=0)
    pnl = np.sum(position * returns, axis=1) - 0.15 * np.abs(trade).sum(axis=1)
    return w, e, position, trade, pnl


def candidate(params, signals, returns):
    w, e, position, trade, pnl = forward(params, signals, returns)
    days = len(pnl)
    year = np.sqrt(252)
    mu, sd = pnl.mean(), pnl.std(ddof=1)
    risk = sd + 1e-3
    loss = -year * mu / risk + 4.0 * np.mean(np.sum(w**2, axis=1))

    # through the ratio: by the mean and by the deviation
    d_mu = -year / risk
    d_sd = year * mu / risk**2
    d_pnl = np.ones(days) * d_mu / days
    d_pnl = d_pnl + d_sd * (pnl - mu) / (sd * (days - 1))

    # through the positions: today's trade buys them, tomorrow's sells them
    d_trade = -0.15 * d_pnl[:, None] * np.sign(trade)
    d_position = d_pnl[:, None] * returns
    d_position = d_position + d_trade
    d_position[:-1] -= d_trade[1:]

    d_w = e[:, None] * d_position
    d_w = d_w + 8.0 * w / days
    d_e = np.sum(d_position * w, axis=1)
    d_s = w * (d_w - np.sum(d_w * w, axis=1, keepdims=True))
    d_t = d_e * e * (1 - e)
    return loss, {"W": signals.T @ d_s, "b": d_s.sum(axis=0), "v": signals.T @ d_t, "c": d_t.sum()}


def problem(rng):
    params = {
        "W": rng.normal(size=(3, 5)) * 0.7,
        "b": rng.normal(size=5) * 0.4,
        "v": rng.normal(size=3) * 0.8,
        "c": np.array(0.3),
    }
    signals = rng.normal(size=(8, 3))
    return params, (signals, 0.4 * signals @ rng.normal(size=(3, 5)) + 0.8 * rng.normal(size=(8, 5)) + 0.3)


WRONG = [
    wrong(
        "deviation_as_if_fixed",
        "missing-path",
        "    d_pnl = d_pnl + d_sd * (pnl - mu) / (sd * (days - 1))\n",
        "",
    ),
    wrong("risk_not_squared", "missing-derivative|different-function|wrong-operand", "mu / risk**2", "mu / risk"),
    wrong(
        "returns_not_centred",
        "missing-path|wrong-operand",
        "d_sd * (pnl - mu) / (sd * (days - 1))",
        "d_sd * pnl / (sd * (days - 1))",
    ),
    wrong(
        "variance_for_the_deviation",
        "missing-derivative|different-function",
        "d_sd * (pnl - mu) / (sd * (days - 1))",
        "d_sd * 2 * (pnl - mu) / (days - 1)",
    ),
    wrong(
        "one_degree_of_freedom_too_many",
        "wrong-scale|different-function",
        "(pnl - mu) / (sd * (days - 1))",
        "(pnl - mu) / (sd * days)",
    ),
    wrong(
        "costs_forgotten",
        "missing-path",
        "    d_position = d_position + d_trade\n    d_position[:-1] -= d_trade[1:]\n",
        "",
    ),
    wrong("selling_tomorrow_forgotten", "missing-path", "    d_position[:-1] -= d_trade[1:]\n", ""),
    wrong(
        "selling_shifted_the_other_way",
        "shifted-in-time|not-transposed",
        "d_position[:-1] -= d_trade[1:]",
        "d_position[1:] -= d_trade[:-1]",
    ),
    wrong(
        "sign_of_the_trade_forgotten",
        "missing-derivative",
        "d_pnl[:, None] * np.sign(trade)",
        "d_pnl[:, None] * np.ones_like(trade)",
    ),
    wrong(
        "softmax_diagonal",
        "diagonal-jacobian",
        "d_s = w * (d_w - np.sum(d_w * w, axis=1, keepdims=True))",
        "d_s = w * (1 - w) * d_w",
    ),
    wrong(
        "softmax_over_days",
        "wrong-axis",
        "np.sum(d_w * w, axis=1, keepdims=True)",
        "np.sum(d_w * w, axis=0, keepdims=True)",
    ),
    wrong("share_not_passed_back", "missing-derivative", "d_w = e[:, None] * d_position", "d_w = 1.0 * d_position"),
    wrong(
        "share_from_the_position",
        "wrong-operand",
        "np.sum(d_position * w, axis=1)",
        "np.sum(d_position * position, axis=1)",
    ),
    wrong("sigmoid_slope_forgotten", "missing-derivative", "d_t = d_e * e * (1 - e)", "d_t = d_e"),
    wrong(
        "sigmoid_slope_of_tanh",
        "different-function",
        "d_t = d_e * e * (1 - e)",
        "d_t = d_e * (1 - e**2)",
    ),
    wrong("crowding_rewarded", "wrong-sign|wrong-term-weight", "d_w = d_w + 8.0 *", "d_w = d_w - 8.0 *"),
    wrong("crowding_not_averaged", "wrong-term-weight|wrong-scale|wrong-reduction", "8.0 * w / days", "8.0 * w"),
    wrong(
        "variance_in_the_ratio_in_both",
        "different-function",
        "risk = sd + 1e-3",
        "risk = sd**2 + 1e-3",
        "d_sd = year * mu / risk**2",
        "d_sd = year * mu / risk**2 * 2 * sd",
    ),
    wrong(
        "costs_of_squared_trades_in_both",
        "different-function",
        "np.abs(trade).sum(axis=1)",
        "(trade**2).sum(axis=1)",
        "np.sign(trade)",
        "2 * trade",
    ),
    wrong("year_in_days_in_cost", "wrong-loss", "loss = -year * mu", "loss = -year**2 * mu"),
]

TOGETHER = [
    ("deviation_as_if_fixed", "sigmoid_slope_forgotten"),
    ("selling_tomorrow_forgotten", "softmax_diagonal"),
    ("one_degree_of_freedom_too_many", "share_from_the_position"),
    ("crowding_not_averaged", "selling_shifted_the_other_way"),
    ("risk_not_squared", "share_not_passed_back"),
    ("costs_forgotten", "softmax_over_days", "sigmoid_slope_of_tanh"),
    ("sign_of_the_trade_forgotten", "crowding_rewarded", "share_from_the_position"),
]

RIGHT = [
    right(
        "softmax_by_full_jacobians",
        "    d_s = w * (d_w - np.sum(d_w * w, axis=1, keepdims=True))\n",
        "    d_s = np.stack([(np.diag(p) - np.outer(p, p)) @ d for p, d in zip(w, d_w)])\n",
    ),
    right(
        "trades_by_a_difference_matrix",
        "    d_position = d_position + d_trade\n    d_position[:-1] -= d_trade[1:]\n",
        "    d_position = d_position + (np.eye(days) - np.eye(days, k=-1)).T @ d_trade\n",
    ),
    right(
        "day_by_day",
        "    d_position = d_position + d_trade\n    d_position[:-1] -= d_trade[1:]\n",
        "    for day in range(days):\n        d_position[day] += d_trade[day]\n"
        "        if day:\n            d_position[day - 1] -= d_trade[day]\n",
    ),
    right(
        "deviation_from_the_variance",
        "d_sd * (pnl - mu) / (sd * (days - 1))",
        "d_sd * 0.5 / sd * 2 * (pnl - mu) / (days - 1)",
    ),
]
