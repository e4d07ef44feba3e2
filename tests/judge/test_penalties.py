"""What is wrong with a penalty alone: where it acts, and how much it weighs, beside other mistakes as well."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gradproof import compare_gradients
from gradproof.diagnosis import penalties
from tests.judge.test_small_models import X, Y, by_torch, told
from tests.judge.test_wrong_ways_back import SQUARE, as_if, numbers

pytestmark = pytest.mark.usefixtures("no_own_lines")

PARAMS = {"W1": SQUARE, "W2": numbers(4, 4), "W3": numbers(4, 3)}


def layers(params, x, y, slope=lambda h, z: h, penalty=lambda name, one: one):
    h = x
    for n in (1, 2, 3):
        z = h @ params[f"W{n}"]
        h = slope(torch.tanh(z), z) if n < 3 else z
    decay = sum(penalty(n, params[f"W{n}"].square()).sum() for n in (1, 2, 3))
    return F.mse_loss(h, y) + 0.1 * decay


def without_slope(h, z):
    return as_if(h, z)


def findings(**wrong):
    candidate = by_torch(lambda params, x, y: layers(params, x, y, **wrong))
    return compare_gradients(candidate, layers, PARAMS, X, Y).findings


@pytest.mark.usefixtures("no_changes_of_code")
class TestBesideAForgottenSlope:
    def test_a_layer_without_a_penalty(self):
        found = findings(slope=without_slope, penalty=lambda n, one: one.detach() if n == 2 else one)
        assert {one.code for one in found} == {"missing-derivative", "wrong-part-penalised"}
        assert "the penalty is missing on W2" in [one.message for one in found]

    def test_no_penalty_at_all(self):
        found = findings(slope=without_slope, penalty=lambda n, one: one.detach())
        assert {one.code for one in found} == {"missing-derivative", "wrong-term-weight"}
        assert any("nothing of the penalty on W1 and W2 and W3" in one.message for one in found)

    def test_a_row_that_is_spared_as_if_it_were_a_bias(self):
        def but_the_last_row(n, squares):
            return torch.cat([squares[:-1], squares[-1:].detach()])

        found = findings(slope=without_slope, penalty=but_the_last_row)
        assert {one.code for one in found} == {"missing-derivative", "wrong-part-penalised"}
        assert "the penalty is missing on the last row of W1 and W2 and W3" in [one.message for one in found]


@pytest.mark.usefixtures("no_changes_of_code")
def test_a_total_that_begins_at_zero():
    """Such a sum of losses has one addition less than the loop has steps."""

    def model(params, x, y, before=lambda total: total):
        state, total = x, 0.0
        for _ in range(4):
            state = torch.tanh(state @ params["A"])
            total = before(total) + ((state @ params["B"] - y) ** 2).mean()
        return total

    def last_one_only(total):
        return total.detach() if isinstance(total, torch.Tensor) else total

    params = {"A": SQUARE, "B": numbers(4, 3)}
    assert told(by_torch(lambda *given: model(*given, last_one_only)), model, params, X, Y)[0] == "last-step-only"


@pytest.fixture
def case(case_of):
    def reference(params, x, y):
        data = F.mse_loss(torch.tanh(x @ params["A"]) @ params["B"], y)
        return data + 0.1 * params["A"].square().sum() + 0.05 * params["A"].abs().sum()

    params = {"A": SQUARE, "B": numbers(4, 3)}
    nothing = {name: np.zeros_like(one) for name, one in params.items()}
    return case_of(lambda *_: (1.0, {name: one + 1 for name, one in nothing.items()}), reference, params, X, Y)


@pytest.mark.usefixtures("no_changes_of_code")
@pytest.mark.parametrize("in_both", [False, True])
def test_the_weights_of_two_parts_of_a_loss_exchanged(in_both):
    def model(params, x, y, weights=(0.3, 0.7)):
        h = torch.tanh(x @ params["A"]) @ params["B"]
        return weights[0] * F.mse_loss(h, y) + weights[1] * torch.cosh(h).mean()

    def exchanged(params, x, y):
        right, wrong = model(params, x, y), model(params, x, y, (0.7, 0.3))
        return wrong if in_both else as_if(right, wrong)

    params = {"A": SQUARE, "B": numbers(4, 3)}
    code, message = told(by_torch(exchanged), model, params, X, Y)
    assert code == "wrong-term-weight"
    assert "are exchanged" in message


@pytest.mark.parametrize(("weights", "code"), [((7 / 3, 3 / 7), "wrong-term-weight"), ((-1, -1), "wrong-sign")])
def test_the_weights_of_two_named_terms_in_one_gradient(weights, code):
    def model(params, x, y, of_A=lambda term, weight: term):
        h = torch.tanh(x @ params["A"]) @ params["B"]
        return {"fit": of_A(F.mse_loss(h, y), weights[0]), "size": of_A(0.3 * torch.cosh(h).mean(), weights[1])}

    def candidate(params, x, y):
        loss, grads = by_torch(lambda *given: sum(model(*given).values()))(params, x, y)
        other = by_torch(lambda *given: sum(model(*given, lambda term, weight: weight * term).values()))(params, x, y)
        return loss, {**grads, "A": other[1]["A"]}

    found = told(candidate, model, {"A": SQUARE, "B": numbers(4, 3)}, X, Y)
    assert found[0] == code
    assert ("are exchanged" in found[1]) is (code == "wrong-term-weight")


A, SIGN = SQUARE, np.sign(SQUARE)
ROWS = np.array([[0.0], [1.0], [2.0], [1.0]])
NONE_ON_A = {"A": np.zeros_like(A)}


@pytest.mark.parametrize(
    ("added", "code"),
    [
        ({"A": 0.2 * A}, "wrong-term-weight"),  # the squares twice
        ({"A": -0.05 * SIGN}, "wrong-term-weight"),  # none of the absolute values
        ({"A": 0.1 * A - 0.025 * SIGN}, "wrong-term-weight"),  # their weights exchanged
        ({"A": np.where(np.eye(4) > 0, -0.2 * A - 0.05 * SIGN, 0)}, "wrong-part-penalised"),  # but the diagonal
        ({**NONE_ON_A, "B": 0.3 * numbers(4, 3)}, "wrong-part-penalised"),
        ({**NONE_ON_A, "B": 0.3 * ROWS * numbers(4, 3)}, "wrong-part-penalised"),  # as often as it is looked up
        ({**NONE_ON_A, "B": np.tanh(numbers(4, 3))}, "wrong-part-penalised"),
        ({**NONE_ON_A, "B": -0.3 * ROWS * numbers(4, 3)}, None),
        ({**NONE_ON_A, "B": numbers(3, 4).T}, None),
        ({"A": numbers(4, 4, 1)[..., 0]}, None),
        (NONE_ON_A, None),
    ],
)
def test_what_of_a_gradient_is_a_penalty(case, added, code):
    assert penalties.of_what_was_added(case, added) == code


@pytest.mark.usefixtures("no_changes_of_code")
class TestRowsThatAreLookedUp:
    """A penalty on what the samples look up counts a row as often as they do."""

    ROWS = np.array([0, 0, 1, 3, 3, 3])
    PARAMS = {"E": numbers(4, 5), "W": numbers(5, 3)}

    @staticmethod
    def looked_up(params, rows, y, weights=(2.0, 1.0, 0.0, 3.0)):
        fit = F.mse_loss(torch.tanh(params["E"][rows]) @ params["W"], y)
        if weights is None:
            return fit + 0.1 * params["E"][rows].square().sum()
        return fit + 0.1 * (torch.tensor(weights, dtype=torch.float64) * params["E"].square().sum(1)).sum()

    def reference(self, params, rows, y):
        return self.looked_up(params, rows, y, None)

    def told(self, weights):
        def candidate(params, rows, y):
            loss, _ = by_torch(self.looked_up)(params, rows, y)
            return loss, by_torch(lambda *given: self.looked_up(*given, weights))(params, rows, y)[1]

        report = compare_gradients(candidate, self.reference, self.PARAMS, self.ROWS, Y)
        return [(one.code, one.message) for one in report.findings]

    def test_as_often_as_they_are_looked_up(self):
        assert self.told((2.0, 1.0, 0.0, 3.0)) == []

    def test_the_whole_table_alike(self):
        message = "the penalty on E has another weight for some rows: 0.2, 0.2, 0.2 in rows 0, 2, 3,"
        assert self.told((1.0, 1.0, 1.0, 1.0)) == [("wrong-part-penalised", f"{message} and 0.4, 0, 0.6 is right")]

    def test_none_at_all_beside_a_forgotten_slope(self):
        def model(params, rows, y, slope=lambda h, z: h, ours=lambda one: one):
            e = params["E"][rows]
            z = e @ params["V"]
            fit = F.mse_loss(slope(torch.tanh(z), z) @ params["W"], y)
            return fit + 0.1 * (ours(e**2).sum() + params["W"].square().sum())

        wrong = by_torch(lambda *given: model(*given, slope=without_slope, ours=torch.detach))
        params = {**self.PARAMS, "V": numbers(5, 5)}
        found = compare_gradients(wrong, model, params, self.ROWS, Y).findings
        assert {one.code for one in found} == {"missing-derivative", "wrong-part-penalised"}
        assert "the penalty is missing on E" in [one.message for one in found]

    def test_twice_the_weight_is_told_as_such(self):
        ((code, message),) = self.told((4.0, 2.0, 0.0, 6.0))
        assert code == "wrong-term-weight"
        assert message.startswith("the penalty on E has 2 times its weight")
