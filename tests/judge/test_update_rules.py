"""The diagnosis of update rules: each rule is torch's, each mistake is named, and nothing is accused that is right.

The wrong candidates are written out here, line by line, and share no code with the rules of the judge: a right rule as
text, in which one line or two are exchanged.
"""

import textwrap

import numpy as np
import pytest
import torch

from gradproof import assert_updates_match, compare_updates
from gradproof.rules import RULES, Now, as_written, read_rule, variants

OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "maximize": True}),
    ("SGD", {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.8, "momentum": 0.7, "centered": True, "weight_decay": 0.1, "eps": 0.1}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1, "betas": (0.5, 0.6), "eps": 0.1, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True, "weight_decay": 0.5, "betas": (0.5, 0.6)}),
    ("NAdam", {"weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"weight_decay": 0.1, "betas": (0.7, 0.8)}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adamax", {"weight_decay": 0.1, "eps": 0.1}),
]


def torchs(name, lr=0.01, **options):
    """What `compare_updates` takes as the reference."""
    return lambda tensors: getattr(torch.optim, name)(tensors, lr=lr, foreach=False, **options)


def problem(steps=6, shapes=None, dtype=np.float64):
    """Where to start, and gradients of changing sign, of sizes from 1e-3 to 1e2 that change from step to step."""
    rng = np.random.default_rng(2)
    shapes = shapes or {"W": (3, 4), "b": (4,)}
    params = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    sizes = 10.0 ** rng.uniform(-3, 2, size=steps)
    gradients = [{k: (rng.normal(size=v.shape) * size).astype(dtype) for k, v in params.items()} for size in sizes]
    return params, gradients


# Each rule of the judge is torch's.


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_rule_is_torchs(name, options):
    """For thirty steps, as a function and by the text of its formula, which reports show."""
    rng = np.random.default_rng(0)
    tensor = torch.tensor(rng.normal(size=5))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # in which NAdam keeps the product of its momenta
    try:
        optimizer = torchs(name, **options)([tensor])
        rule, h = read_rule(optimizer, optimizer.param_groups[0])
        theta = formula = tensor.numpy().copy()
        kept, kept_by_formula = {}, {}
        for t in range(1, 31):
            g = rng.normal(size=5) * 10.0 ** rng.uniform(-3, 2)
            tensor.grad = torch.tensor(g)
            optimizer.step()
            with np.errstate(invalid="ignore"):  # RAdam takes a root that it does not use in its first steps
                theta = rule.step(Now(theta, g, t, t, None), kept, h, {})
                formula = as_written(rule, h).step(Now(formula, g, t, t, None), kept_by_formula, h, {})
            np.testing.assert_allclose(theta, tensor, rtol=0, atol=1e-12 * np.abs(theta).max())
            np.testing.assert_allclose(formula, tensor, rtol=0, atol=1e-12 * np.abs(theta).max())
    finally:
        torch.set_default_dtype(before)


def test_every_rule_is_tried():
    assert {name for name, _ in OPTIMIZERS} == set(RULES)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_mistakes_can_be_told(name, options):
    """Each says what is wrong, what is right, and changes something."""
    optimizer = torchs(name, **options)([torch.zeros(2)])
    rule, h = read_rule(optimizer, optimizer.param_groups[0])
    mistakes = list(rule.mistakes(h))
    assert mistakes
    for mistake in mistakes:
        assert mistake.message
        assert "\n" not in mistake.message
        assert mistake.right
        assert mistake.switches or mistake.values


# The candidates: what stands between the decay and the return is the rule.

RULE = {
    "SGD": """
        buf = momentum * state["buf" + k] + (1 - dampening) * g if "buf" + k in state else g
        state["buf" + k] = buf
        theta = theta - lr * (g + momentum * buf if nesterov else buf)
    """,
    "Adagrad": """
        G = state["G" + k] = state.get("G" + k, initial_accumulator_value) + g**2
        theta = theta - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(G) + eps)
    """,
    "RMSprop": """
        v = state["v" + k] = alpha * state.get("v" + k, 0) + (1 - alpha) * g**2
        m = state["m" + k] = alpha * state.get("m" + k, 0) + (1 - alpha) * g
        d = g / (np.sqrt(v - m**2 if centered else v) + eps)
        buf = state["buf" + k] = momentum * state.get("buf" + k, 0) + d
        theta = theta - lr * buf
    """,
    "Adadelta": """
        v = state["v" + k] = rho * state.get("v" + k, 0) + (1 - rho) * g**2
        d = g * np.sqrt(state.get("u" + k, 0) + eps) / np.sqrt(v + eps)
        u = state["u" + k] = rho * state.get("u" + k, 0) + (1 - rho) * d**2
        theta = theta - lr * d
    """,
    "Adam": """
        m = state["m" + k] = beta1 * state.get("m" + k, 0) + (1 - beta1) * g
        v = state["v" + k] = beta2 * state.get("v" + k, 0) + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
    """,
    "NAdam": """
        m = state["m" + k] = beta1 * state.get("m" + k, 0) + (1 - beta1) * g
        v = state["v" + k] = beta2 * state.get("v" + k, 0) + (1 - beta2) * g**2
        mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (n * momentum_decay)) for n in (t, t + 1))
        product = state["product" + k] = state.get("product" + k, 1) * mu
        m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
        theta = theta - lr * m_hat / (np.sqrt(v / (1 - beta2**t)) + eps)
    """,
    "RAdam": """
        m = state["m" + k] = beta1 * state.get("m" + k, 0) + (1 - beta1) * g
        v = state["v" + k] = beta2 * state.get("v" + k, 0) + (1 - beta2) * g**2
        long = 2 / (1 - beta2) - 1
        rho = long - 2 * t * beta2**t / (1 - beta2**t)
        step = m / (1 - beta1**t)
        if rho > 5:
            step = step * np.sqrt((rho - 4) * (rho - 2) * long / ((long - 4) * (long - 2) * rho))
            step = step * np.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)
        theta = theta - lr * step
    """,
    "Adamax": """
        m = state["m" + k] = beta1 * state.get("m" + k, 0) + (1 - beta1) * g
        u = state["u" + k] = np.maximum(beta2 * state.get("u" + k, 0), np.abs(g) + eps)
        theta = theta - lr * m / (1 - beta1**t) / u
    """,
}
FRAME = """
def step(params, grads, state):
    t = state["t"] = state.get("t", 0) + 1
    new = {}
    for k, theta in params.items():
        g = grads[k]
        COUPLED
        DECOUPLED
RULE
        new[k] = theta
    return new
"""
COUPLED, DECOUPLED = "g = g + weight_decay * theta", "theta = theta - lr * weight_decay * theta"
BASIC = {"lr": 0.01, "weight_decay": 0.0, "momentum": 0.0, "dampening": 0.0, "nesterov": False, "centered": False}
BASIC |= {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "alpha": 0.99, "rho": 0.9, "momentum_decay": 0.004}
BASIC |= {"lr_decay": 0.0, "initial_accumulator_value": 0.0}
USUAL = {"Adagrad": {"eps": 1e-10}, "Adadelta": {"eps": 1e-6}, "AdamW": {"weight_decay": 0.01}}


def candidate(name, *changes, values=None, **options):
    """The hand-written rule with some of its text exchanged, and some of its hyperparameters set otherwise."""
    decoupled = name == "AdamW" or options.pop("decoupled_weight_decay", False)
    options = {**BASIC, **USUAL.get(name, {}), **options, **(values or {})}
    if "betas" in options:
        options["beta1"], options["beta2"] = options.pop("betas")
    source = FRAME.replace("DECOUPLED", DECOUPLED if decoupled else "pass")
    source = source.replace("COUPLED", "pass" if decoupled else COUPLED)
    rule = textwrap.dedent(RULE["Adam" if name == "AdamW" else name]).strip()
    source = source.replace("RULE", textwrap.indent(rule, "        "))
    for right, wrong in changes:
        assert right in source, right
        source = source.replace(right, wrong)
    space = {"np": np, **options}
    exec(source, space)
    return space["step"]


def judged(name, *changes, values=None, given=None, lr=0.01, **options):
    step = candidate(name, *changes, values=values, lr=lr, **options)
    return compare_updates(step, torchs(name, lr=lr, **options), *(given or problem()))


NEVER_MAXIMIZED = [(name, {k: v for k, v in options.items() if k != "maximize"}) for name, options in OPTIMIZERS]


@pytest.mark.parametrize(("name", "options"), NEVER_MAXIMIZED, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_right_candidates_pass(name, options, dtype):
    if options.get("amsgrad"):
        options = {**options, "amsgrad": False}
    given = problem(steps=9, dtype=dtype)
    step = candidate(name, **{k: v for k, v in options.items() if k != "amsgrad"})
    typed = step if dtype is np.float64 else lambda *a: {k: v.astype(dtype) for k, v in step(*a).items()}
    assert_updates_match(typed, torchs(name, **options), *given)


def test_default_dtype_is_left_alone():
    judged("NAdam")
    assert torch.get_default_dtype() is torch.float32


def test_the_sign_is_mended_where_it_has_to_be_turned():
    climbing = torchs("SGD", lr=0.1, maximize=True)
    (finding,) = compare_updates(candidate("SGD", lr=0.1), climbing, *problem()).findings
    assert (finding.code, finding.mend.split("\n")[0]) == ("wrong-sign", "g = -g")


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_step_that_does_nothing_is_no_other_rule(name):
    (finding,) = compare_updates(lambda params, grads, state: params, torchs(name, lr=0.1), *problem()).findings
    assert finding.code == "unexplained"
    assert "nothing moves at any step" in finding.message


NO_MEANS = (("state.get(\"m\" + k, 0)", "0"), ("state.get(\"v\" + k, 0)", "0"))
LAST = "theta = theta - lr * m_hat / (np.sqrt(v_hat) + eps)"
AVERAGE = (("(1 - dampening) * g", "(1 - momentum) * g"), ("else g\n", "else (1 - momentum) * g\n"))
DECAYING = {"weight_decay": 0.1}
HEAVY = {"momentum": 0.9}
CENTERED = {"centered": True, "momentum": 0.5, "eps": 0.01}

# The rule, its options, what is written wrong, the code to be reported, and words of its message.
SINGLE = [
    ("Adam", {}, [("/ (1 - beta1**t)", ""), ("/ (1 - beta2**t)", "")], "missing-bias-correction", "m and v are used"),
    ("Adam", {}, [("/ (1 - beta1**t)", "")], "missing-bias-correction", "m is used as it is"),
    ("Adam", {}, [("/ (1 - beta2**t)", "")], "missing-bias-correction", "v is used as it is"),
    ("Adam", {}, [("1 - beta1**t", "1 - beta1")], "missing-bias-correction", "`**t` is left out"),
    ("Adam", {}, [('get("t", 0)', 'get("t", 1)')], "step-off-by-one", "the first step is counted as step 2"),
    ("Adam", {}, [("beta1**t", "beta1**(t + 1)")], "step-off-by-one", "in the correction of m"),
    ("Adam", {},
     [("for k, theta", 't -= 1\n    for k, theta'), ("g = grads[k]", 'g = grads[k]; t += 1; state["t"] = t')],
     "step-off-by-one", "raised for every parameter"),
    ("Adam", {}, [('state["t"] = state.get("t", 0) + 1', "1")], "state-not-kept", "the counter is 1 at every step"),
    ("Adam", {}, [("np.sqrt(v_hat) + eps", "np.sqrt(v_hat + eps)")], "epsilon-misplaced", "under the root"),
    ("Adam", {}, [(LAST, "theta = theta - lr * m_hat / (np.sqrt(v) + eps) * np.sqrt(1 - beta2**t)")],
     "epsilon-misplaced", "before v is corrected"),
    ("Adam", {}, [("(np.sqrt(v_hat) + eps)", "np.sqrt(v_hat)")], "epsilon-misplaced", "eps is left out"),
    ("Adam", {}, [("g**2\n", "g**2 + eps\n")], "epsilon-misplaced", "eps is added to v itself and kept with it, and"),
    ("Adam", {}, [("g**2\n", "g**2 + eps\n"), ("v_hat) + eps", "v_hat)")], "epsilon-misplaced", "kept with it"),
    ("Adam", {}, [("beta1", "beta0"), ("beta2", "beta1"), ("beta0", "beta2")], "moments-mixed-up", "are exchanged"),
    ("Adam", {}, [("1 - beta2**t", "1 - beta1**t")], "moments-mixed-up", "v is corrected by 1 - beta1**t"),
    ("Adam", {}, [("np.sqrt(v_hat)", "np.sqrt(np.abs(m_hat))")], "moments-mixed-up", "the root of |m_hat|"),
    ("Adam", {}, [("* g**2", "* np.abs(g)")], "gradient-not-squared", "v is fed with |g|"),
    ("Adam", {}, [("* g**2", "* m**2")], "gradient-not-squared", "the square of the mean m"),
    ("Adam", {}, [("* g**2", "* np.mean(g**2)")], "gradient-not-squared", "the mean of g**2 over all entries"),
    ("Adam", {}, NO_MEANS, "state-not-kept", "both means start from zero"),
    ("Adam", {}, NO_MEANS[:1], "state-not-kept", "m starts from zero"),
    ("Adam", {}, [(LAST, f'state["v" + k] = v_hat; {LAST}')], "state-not-kept", "corrected already"),
    ("Adam", DECAYING, [(COUPLED, DECOUPLED)], "decay-misplaced", "shrinks the parameter itself"),
    ("Adam", DECAYING, [(COUPLED, "pass"), ("* g\n", f"* ({COUPLED[4:]})\n")], "decay-misplaced", "direction"),
    ("AdamW", {}, [(DECOUPLED, COUPLED)], "decay-misplaced", "added to the gradient, as in Adam"),
    ("AdamW", {}, [(DECOUPLED, "pass"), (LAST, f"{LAST}; {DECOUPLED}")], "decay-misplaced", "after the step"),
    ("AdamW", {}, [(DECOUPLED, "theta = theta - weight_decay * theta")], "wrong-hyperparameter",
        "not multiplied by lr"),
    ("AdamW", {}, [(DECOUPLED, DECOUPLED.replace("-", "+"))], "wrong-sign", "the weight decay has the wrong sign"),
    ("Adam", {}, [("np.sqrt(v_hat)", "v_hat")], "different-function", "the root is missing"),
    ("Adam", {}, [("g**2", "(g - m)**2")], "different-function", "AdaBelief"),
    ("Adam", {}, [(LAST, "theta = theta - lr * g / (np.std(g) + eps)")], "different-function", "standard deviation"),
    ("Adam", {}, [(LAST, "theta = theta - lr * g / np.linalg.norm(g)")], "different-function", "its norm"),
    ("Adam", {}, [(LAST, "theta = theta - lr * np.sign(g)")], "different-function", "sign descent"),
    ("Adam", {}, [(LAST, "theta = theta - lr * g / (np.sqrt(v) + eps)")], "different-function", "RMSprop"),
    ("Adam", {}, [(LAST, "theta = theta + lr * m_hat / (np.sqrt(v_hat) + eps)")], "wrong-sign", "uphill"),
    ("Adam", DECAYING, [("g = g + weight_decay", "g = -g + weight_decay")], "wrong-sign", "the loss is climbed"),
    ("Adam", {}, [("+ (1 - beta1) * g", "+ g")], "wrong-scale", "1 - beta1 on the new g is left out"),
    ("Adam", {}, [("theta - lr *", "theta -")], "wrong-scale", "the learning rate is left out"),
    ("SGD", HEAVY, [('if "buf" + k in state', "if False")], "state-not-kept", "the velocity starts anew"),
    ("SGD", HEAVY, AVERAGE, "wrong-hyperparameter", "dampening = 0.9, expected 0"),
    ("SGD", {**HEAVY, "dampening": 0.3}, [("else g\n", "else (1 - dampening) * g\n")], "step-off-by-one", "as well"),
    ("SGD", {**HEAVY, **DECAYING}, [(COUPLED, DECOUPLED)], "decay-misplaced", "what is kept does not see it"),
    ("SGD", HEAVY, [("if nesterov", "if True")], "different-function", "looks ahead"),
    ("SGD", {**HEAVY, "nesterov": True}, [("if nesterov", "if False")], "wrong-hyperparameter", "nesterov = False"),
    ("SGD", {**HEAVY, "nesterov": True}, [("g + momentum * buf", "g + buf")], "wrong-scale", "`momentum` is left out"),
    ("SGD", HEAVY, [("momentum * state", "-momentum * state")], "wrong-sign", "momentum = -0.9, expected 0.9"),
    ("SGD", {}, [("theta - lr * (", "theta - lr / (")], "different-function", "theta = theta - lr / g"),
    ("SGD", {}, [("theta - lr *", "theta - lr * 12 *")], "wrong-scale", "12"),
    ("Adagrad", {}, [('state.get("G" + k, initial_accumulator_value) + g**2', "g**2")], "state-not-kept",
        "not added up"),
    ("Adagrad", {"lr_decay": 0.1}, [("(t - 1)", "t")], "step-off-by-one", "counted as step 2"),
    ("Adagrad", {"lr_decay": 0.1}, [("(t - 1)", "(t - 2)")], "step-off-by-one", "counted as step 0"),
    ("Adagrad", {}, [("np.sqrt(G) + eps", "np.sqrt(G + eps)")], "epsilon-misplaced", "sqrt(G + eps)"),
    ("Adagrad", {}, [("np.sqrt(G)", "np.sqrt(G / t)")], "wrong-reduction", "a mean of the squares, not their sum"),
    ("RMSprop", {}, [("alpha *", "(1 - alpha) *"), ("+ (1 - alpha)", "+ alpha")], "wrong-hyperparameter", "1 - alpha"),
    ("RMSprop", {}, [('get("v" + k, 0)', 'get("v" + k, 1.0)')], "wrong-hyperparameter",
        "v at the start = 1, expected 0"),
    ("RMSprop", {}, [("else v)", "else v / (1 - alpha**t))")], "different-function", "RMSprop does not do so"),
    ("RMSprop", CENTERED, [("v - m**2", "v + m**2")], "wrong-sign", "the square of m is added"),
    ("RMSprop", CENTERED, [('state.get("m" + k, 0)', "0")], "state-not-kept", "m starts from zero"),
    ("RMSprop", CENTERED, [("k, 0) + d", "k, 0) + lr * d"), ("- lr * buf", "- buf")], None, ""),
    ("Adadelta", {}, [("np.sqrt(v + eps)", "(np.sqrt(v) + eps)")], "epsilon-misplaced", "outside the root of v"),
    ("Adadelta", {}, [("* d**2", "* (lr * d)**2")], "wrong-operand", "u is fed with lr * d"),
    ("Adadelta", {}, [("* d**2", "* g**2")], "moments-mixed-up", "u is fed with g**2"),
    ("NAdam", {}, [("mu_next * m /", "mu * m /")], "step-off-by-one", "where mu_next belongs"),
    ("NAdam", {}, [('state.get("product" + k, 1) * mu', "mu")], "state-not-kept", "the product of all mu is not kept"),
    ("NAdam", {}, [("0.5 *", "0 *")], "different-function", "without the schedule of mu"),
    ("NAdam", {}, [("v / (1 - beta2**t)", "v")], "missing-bias-correction", "v is used as it is"),
    ("RAdam", {}, [("rho > 5", "rho > 4")], "wrong-hyperparameter", "the threshold of rho is 4"),
    ("RAdam", {}, [("np.sqrt((rho", "((rho")], "different-function", "the root in the rectification"),
    ("RAdam", {}, [("* np.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)", "/ (np.sqrt(v / (1 - beta2**t)) + eps)")],
     "epsilon-misplaced", "after v is corrected"),
    ("Adamax", {}, [("np.maximum(beta2 * state.get(\"u\" + k, 0), np.abs(g) + eps)", "np.abs(g) + eps")],
     "state-not-kept", "u starts from zero"),
    ("Adamax", {"eps": 0.1}, [("np.abs(g) + eps", "np.abs(g)"), ("/ u", "/ (u + eps)")], "epsilon-misplaced",
        "after the maximum"),
    ("Adamax", {}, [("/ (1 - beta1**t)", "")], "missing-bias-correction", "m is used as it is"),
    ("Adamax", {}, [("np.maximum(beta2 * state.get(\"u\" + k, 0), ", "np.add(beta2 * state.get(\"u\" + k, 0), ")],
     "different-function", "take the larger of the two"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "changes", "code", "words"), SINGLE, ids=lambda one: str(one)[:60])
def test_single_mistake(name, options, changes, code, words):
    report = judged(name, *changes, given=problem(steps=12), **options)
    if code is None:
        assert report.ok  # another way to write what is right
        return
    assert [finding.code for finding in report.findings] == [code]
    finding = report.findings[0]
    assert words in finding.message.split("\nThe same numbers")[0]
    assert finding.exact
    assert finding.site is None
    assert finding.parameters == ("W", "b")
    assert finding.mend


# Hyperparameters of any value are found.

VALUES = [
    ("Adam", {}, {"beta2": 0.99}, "wrong-hyperparameter", "beta2 = 0.99, expected 0.999"),
    ("Adam", {}, {"beta2": 0.98765}, "wrong-hyperparameter", "beta2 = 0.98765, expected 0.999"),
    ("Adam", {}, {"beta1": 0.1}, "wrong-hyperparameter", "beta1 = 0.1, expected 0.9: that is 1 - beta1"),
    ("Adam", {}, {"beta1": 0}, "wrong-hyperparameter", "beta1 = 0, expected 0.9: it is left out"),
    ("Adam", {}, {"eps": 1e-7}, "wrong-hyperparameter", "eps = 1e-07, expected 1e-08"),
    ("Adam", {}, {"eps": 3e-9}, "wrong-hyperparameter", "eps = 3e-09, expected 1e-08"),
    ("Adam", {}, {"eps": 1e-4}, "wrong-hyperparameter", "eps = 0.0001, expected 1e-08: the root of eps"),
    ("Adam", {}, {"weight_decay": 0.03}, "wrong-hyperparameter", "weight_decay = 0.03, expected 0"),
    ("AdamW", {}, {"weight_decay": 0.0}, "wrong-hyperparameter", "weight_decay = 0, expected 0.01: it is left out"),
    ("AdamW", {}, {"weight_decay": 0.02}, "wrong-hyperparameter", "it acts twice"),
    ("Adam", {}, {"lr": 0.03}, "wrong-hyperparameter", "lr = 0.03, expected 0.01: every step is the right one times 3"),
    ("Adam", {}, {"lr": 0.0123456}, "wrong-hyperparameter", "times 1.23456, a constant without a known name"),
    ("Adam", {}, {"lr": 0.001}, "wrong-hyperparameter", "lr = 0.001, expected 0.01"),
    ("SGD", HEAVY, {"momentum": 0.99}, "wrong-hyperparameter", "momentum = 0.99, expected 0.9"),
    ("SGD", {}, {"momentum": 0.5}, "wrong-hyperparameter", "momentum = 0.5, expected 0"),
    ("SGD", {**HEAVY, "dampening": 0.2}, {"dampening": 0}, "wrong-hyperparameter", "dampening = 0, expected 0.2"),
    ("Adagrad", {}, {"initial_accumulator_value": 0.1}, "wrong-hyperparameter", "initial_accumulator_value = 0.1"),
    ("Adagrad", {}, {"lr_decay": 0.05}, "wrong-hyperparameter", "lr_decay = 0.05, expected 0"),
    ("RMSprop", {}, {"alpha": 0.9}, "wrong-hyperparameter", "alpha = 0.9, expected 0.99"),
    ("Adadelta", {}, {"rho": 0.95}, "wrong-hyperparameter", "rho = 0.95, expected 0.9"),
    ("NAdam", {}, {"momentum_decay": 0.01}, "wrong-hyperparameter", "momentum_decay = 0.01, expected 0.004"),
]


@pytest.mark.parametrize(("name", "options", "values", "code", "words"), VALUES, ids=str)
def test_value_is_found(name, options, values, code, words):
    report = judged(name, values=values, **options)
    assert [finding.code for finding in report.findings] == [code]
    assert words in report.findings[0].message


def test_value_in_float32():
    given = problem(dtype=np.float32)
    step = candidate("Adam", values={"beta2": 0.99}, lr=0.01)
    report = compare_updates(lambda *a: {k: np.float32(v) for k, v in step(*a).items()}, torchs("Adam"), *given)
    assert [finding.code for finding in report.findings] == ["wrong-hyperparameter"]
    assert "beta2 = 0.99, expected 0.999" in report.findings[0].message


# Two mistakes at once.

DOUBLE = [
    ("Adam", {}, [("/ (1 - beta1**t)", ""), ("* g**2", "* np.abs(g)")], {},
     {"missing-bias-correction", "gradient-not-squared"}),
    ("Adam", {}, [("np.sqrt(v_hat) + eps", "np.sqrt(v_hat + eps)")], {"lr": 0.02},
        {"epsilon-misplaced", "wrong-hyperparameter"}),
    ("Adam", {}, [('get("t", 0)', 'get("t", 1)')], {"beta2": 0.97}, {"step-off-by-one", "wrong-hyperparameter"}),
    ("Adam", {}, [("theta - lr", "theta + lr"), ("np.sqrt(v_hat)", "v_hat")], {}, {"wrong-sign", "different-function"}),
    ("AdamW", {}, [(DECOUPLED, COUPLED)], {"eps": 1e-5}, {"decay-misplaced", "wrong-hyperparameter"}),
    ("Adam", {}, [(LAST, "theta = theta - lr * g / np.sqrt(v + eps)")], {},
        {"different-function", "epsilon-misplaced"}),
    ("RMSprop", CENTERED, [("v - m**2", "v + m**2"), ('state.get("buf" + k, 0)', "0")], {},
     {"wrong-sign", "state-not-kept"}),
    ("SGD", {**HEAVY, **DECAYING}, [("theta - lr", "theta + lr")], {"lr": 0.1}, {"wrong-sign", "wrong-hyperparameter"}),
    ("SGD", HEAVY, [*AVERAGE, ("theta - lr", "theta + lr")], {}, {"wrong-hyperparameter", "wrong-sign"}),
    ("Adamax", {}, [("np.abs(g) + eps", "np.abs(g)"), ("/ u", "/ (u + eps)"), ("theta - lr", "theta + lr")], {},
     {"epsilon-misplaced", "wrong-sign"}),
]  # fmt: skip


def in_order(value):
    """The text of a value for a test id: sets have no order of their own, and two workers must agree on one."""
    return str(sorted(value) if isinstance(value, set) else value)[:50]


@pytest.mark.parametrize(("name", "options", "changes", "values", "codes"), DOUBLE, ids=in_order)
def test_two_mistakes(name, options, changes, values, codes):
    report = judged(name, *changes, values=values, **options)
    assert {finding.code for finding in report.findings} == codes
    assert len(report.findings) == 2
    assert all(finding.exact for finding in report.findings)


def test_both_betas_are_found():
    report = judged("Adam", values={"beta1": 0.8, "beta2": 0.9876})
    told = [finding.message.split("\n")[0] for finding in report.findings]
    assert told == ["beta1 = 0.8, expected 0.9", "beta2 = 0.9876, expected 0.999"]


# What gives the same numbers is told as such; the simplest first.


def test_tie_is_told():
    """Without a memory Adam is the rule with both betas at 0: the numbers cannot tell which it was."""
    report = judged("Adam", ('state["t"] = state.get("t", 0) + 1', "1"), *NO_MEANS)
    assert [finding.code for finding in report.findings] == ["state-not-kept"]
    tie = "The same numbers come of: wrong-hyperparameter, beta1 = 0, expected 0.9 and beta2 = 0, expected 0.999"
    assert tie in report.findings[0].message


def test_nothing_is_told_as_a_tie_that_is_farther_away():
    """A difference little above rounding: several explanations are within what is allowed, one fits."""
    change = ("* np.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)", "/ (np.sqrt(v / (1 - beta2**t)) + eps)")
    report = judged("RAdam", change, given=problem(steps=12))
    assert report.comparisons["W"].relative_error < 1e-11
    assert "The same numbers" not in report.findings[0].message


def test_one_mistake_is_simpler_than_two():
    """The sign, on a rule that is odd: not two mistakes that undo each other elsewhere."""
    report = judged("Adam", ("theta - lr", "theta + lr"))
    assert [finding.code for finding in report.findings] == ["wrong-sign"]


# Which parameters.


def test_only_the_wrong_parameter_is_named():
    step = candidate("SGD", ("momentum * state", 'momentum * (0.5 if k == "b" else 1) * state'), lr=0.01, **HEAVY)
    report = compare_updates(step, torchs("SGD", **HEAVY), *problem())
    assert [(finding.code, finding.parameters) for finding in report.findings] == [("wrong-hyperparameter", ("b",))]
    assert "momentum = 0.45, expected 0.9" in report.findings[0].message


def test_another_mistake_in_each_parameter():
    changes = ("/ (1 - beta2**t)", '/ (1 if k == "W" else 1 - beta2**t)'), ("beta1", '(beta1 if k == "W" else 0.8)')
    report = judged("Adam", *changes)
    found = [(finding.code, finding.parameters) for finding in report.findings]
    assert found == [("missing-bias-correction", ("W",)), ("wrong-hyperparameter", ("b",))]


def test_groups_have_their_own_hyperparameters():
    def reference(tensors):
        return torch.optim.SGD([{"params": tensors[:1], "weight_decay": 0.1}, {"params": tensors[1:]}], lr=0.01)

    report = compare_updates(candidate("SGD", lr=0.01, weight_decay=0.1), reference, *problem())
    assert [(finding.code, finding.parameters) for finding in report.findings] == [("wrong-hyperparameter", ("b",))]
    assert "weight_decay = 0.1, expected 0" in report.findings[0].message


def test_one_entry_of_the_state_for_all():
    given = problem(shapes={"U": (3, 4), "W": (3, 4)})
    changes = [(f'"{kept}" + k', f'"{kept}"') for kept in "mv"]
    report = judged("Adam", *changes, given=given)
    assert [finding.code for finding in report.findings] == ["state-not-kept"]
    assert "share one entry of the state: each overwrites" in report.findings[0].message


# Never a guess.


def fits_nothing(params, grads, state):
    state["t"] = state.get("t", 0) + 1
    return {k: v - 0.01 * np.tanh(grads[k]) * (1 if state["t"] < 3 else 1.5) for k, v in params.items()}


def test_unexplained():
    (finding,) = compare_updates(fits_nothing, torchs("SGD"), *problem()).findings
    assert (finding.code, finding.exact, finding.parameters) == ("unexplained", False, ("W", "b"))
    first, tried = finding.message.split("\n")
    assert first == "W, b: the first step is wrong already, though every entry moves the right way: its length is wrong"
    assert tried.startswith("Tried: SGD with ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("theta - 0.01 * g * (1 if t < 2 else g)",
            "W: the first step is right, the second is not: look at what is kept"),
        ("theta - 0.01 * g * (1 if t < 4 else g)", "W: the first 3 steps are right, step 4 is not"),
        ("theta - 0.01 * g / t",
            "W: each step is the right one times 1/t, 1, 0.5, 0.3333, 0.25 ...: the learning rate"),
        ("theta - 0.01 * g * (0.9 + t % 3)",
            "W: each step is the right one times a constant of its own, 1.9, 2.9, 0.9"),
        ("theta + 0 * g", "W: nothing moves at any step"),
        ("theta + 0.01 * g * g**2", "W: the first step is wrong already, and every entry moves the wrong way"),
        ("theta - 0.01 * np.sort(g.ravel()).reshape(g.shape)", "entries move the wrong way"),
        ("theta - 0.01 * np.where(np.abs(g) > np.median(np.abs(g)), g, 1.1 * g**3)",
            "those with the smallest gradients"),
    ],
)
def test_pattern(line, words):
    step = candidate("SGD", ("theta = theta - lr * (g + momentum * buf if nesterov else buf)", f"theta = {line}"))
    report = compare_updates(step, torchs("SGD"), *problem(shapes={"W": (3, 4)}))
    assert [finding.code for finding in report.findings] == ["unexplained"]
    assert words in report.findings[0].message


def test_pattern_names_what_is_right():
    step = candidate("SGD", ("theta = theta - lr", 'theta = theta - lr * (1 if k == "W" else np.tanh(g))'), lr=0.01)
    (finding,) = compare_updates(step, torchs("SGD"), *problem()).findings
    assert "W is right: look at what the code does otherwise for b" in finding.message


@pytest.mark.parametrize("steps", [1, 2])
def test_few_steps_tell_too_little(steps):
    report = judged("Adam", ("/ (1 - beta2**t)", ""), given=problem(steps=steps))
    assert [finding.code for finding in report.findings] == ["unexplained"]
    assert "too little to tell mistakes apart. What would fit: missing-bias-corr" in report.findings[0].message


def test_gradients_that_never_change_tell_too_little():
    params, gradients = problem()
    report = judged("Adam", ("/ (1 - beta2**t)", ""), given=(params, gradients[:1] * 5))
    assert [finding.code for finding in report.findings] == ["unexplained"]
    assert "The gradients are the same at every step" in report.findings[0].message


def test_every_entry_counts():
    """One entry among hundreds does not fit: the explanation of the others is none."""
    given = problem(shapes={"W": (30, 40)})
    changes = [("/ (1 - beta1**t)", ""), ("/ (1 - beta2**t)", "")]
    assert judged("Adam", *changes, given=given).findings[0].code == "missing-bias-correction"
    step = candidate("Adam", *changes, (LAST, f"{LAST}; theta[7, 11] += 1e-9"), lr=0.01)
    report = compare_updates(step, torchs("Adam"), *given)
    assert [finding.code for finding in report.findings] == ["unexplained"]


def test_few_entries_give_it_away():
    """Two of 1,200 gradients are small enough for eps to matter: the search looks at them."""
    params, gradients = problem(shapes={"W": (30, 40)})
    for grads in gradients:
        grads["W"] = 1e9 * grads["W"]
        grads["W"][[3, 17], [5, 29]] *= 1e-15
    report = judged("Adam", ("np.sqrt(v_hat) + eps", "np.sqrt(v_hat + eps) + eps"), given=(params, gradients))
    assert [finding.code for finding in report.findings] == ["epsilon-misplaced"]
    assert "eps is added twice" in report.findings[0].message


def test_later_steps_count():
    """What fits the first twenty steps and not the last is no explanation."""
    given = problem(steps=25)
    change = ("/ (1 - beta2**t)", "/ (1 if t < 25 else 2)")
    assert judged("Adam", change, given=given).findings[0].code == "unexplained"


def test_mistake_that_shows_late():
    """The largest entry of the gradient comes at step 20: until then the maximum of v is v itself."""
    params, gradients = problem(steps=24)
    sizes = [2.0**t if t < 20 else 1.0 for t in range(24)]
    given = params, [{k: np.sign(g) * size for k, g in one.items()} for one, size in zip(gradients, sizes, strict=True)]
    report = compare_updates(candidate("Adam", lr=0.01), torchs("Adam", amsgrad=True), *given)
    compared = report.comparisons["W"]
    assert np.abs(compared.candidate - compared.reference)[:20].max() <= compared.allowed
    assert [finding.code for finding in report.findings] == ["wrong-hyperparameter"]
    assert "amsgrad = False, expected True" in report.findings[0].message


def test_without_a_search():
    step = candidate("Adam", ("/ (1 - beta2**t)", ""), lr=0.01)
    (finding,) = compare_updates(step, torchs("Adam"), *problem(), diagnose=False).findings
    assert finding.code == "unexplained"
    assert "Tried" not in finding.message


def test_unknown_optimizer():
    step = candidate("SGD", values={"lr": 0.02})
    (finding,) = compare_updates(step, torchs("ASGD"), *problem()).findings
    assert finding.code == "unexplained"
    assert "The judge does not know the rule of ASGD." in finding.message


def test_reference_that_makes_one_optimizer_only():
    makers = iter([torchs("SGD")])
    step = candidate("SGD", values={"lr": 0.02})
    (finding,) = compare_updates(step, lambda tensors: next(makers)(tensors), *problem()).findings
    assert (finding.code, finding.exact) == ("unexplained", False)


class Shrinking(torch.optim.Adam):
    """An Adam with a step of its own, which its options do not say."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for tensor in group["params"]:
                tensor.data.mul_(0.9)


def test_optimizer_with_a_step_of_its_own():
    report = compare_updates(candidate("Adam", lr=0.01), lambda tensors: Shrinking(tensors, lr=0.01), *problem())
    assert [finding.code for finding in report.findings] == ["unexplained"]
    assert "Torch's own steps are not those of Adam as the judge knows it." in report.findings[0].message


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_slips_change_something(name):
    """No slip is the formula itself, written otherwise."""
    optimizer = torchs(name, **({"momentum": 0.9} if name == "SGD" else {}))([torch.zeros(2)])
    rule, h = read_rule(optimizer, optimizer.param_groups[0])
    lines = set(rule.formula(h).split("\n"))
    for slip in variants(rule, h):
        assert slip.message.split("`")[-2] not in lines


# The words.


def test_message():
    report = judged("Adam", ("np.sqrt(v_hat) + eps", "np.sqrt(v_hat + eps)"))
    (finding,) = report.findings
    assert finding.message == "eps is added under the root, sqrt(v_hat + eps)"
    assert finding.mend == "theta = theta - lr * m_hat / (sqrt(v_hat) + eps)"


def test_message_of_a_value():
    (finding,) = judged("Adam", values={"beta2": 0.99}).findings
    assert finding.message == "beta2 = 0.99, expected 0.999"
    assert finding.mend.split("\n") == [
        "beta2 = 0.999",
        "v = beta2 * v + (1 - beta2) * g**2",
        "v_hat = v / (1 - beta2**t)",
    ]


def test_message_of_a_slip():
    (finding,) = judged("SGD", ("theta - lr * (", "theta - lr / (")).findings
    assert finding.message == (
        "a division stands where a product belongs: your numbers are those of `theta = theta - lr / g`"
    )
    assert finding.mend == "theta = theta - lr * g"


# What is told of the right line.


@pytest.mark.parametrize(
    ("v_max", "correction", "message", "mend"),
    [
        (np.maximum, lambda t: 1.0, "v is used as it is", "m_hat = m / (1 - beta1**t)\nv_hat = v_max / (1 - beta2**t)"),
        (np.minimum, lambda t: 1 - 0.9**t, "the smaller of the two is taken, not the larger", "v_max = max(v_max, v)"),
    ],
)
def test_the_right_line_of_amsgrad_has_the_largest_v(v_max, correction, message, mend):
    def step(params, grads, state):
        t = state["t"] = state.get("t", 0) + 1
        made = {}
        for k, theta in params.items():
            m = state["m" + k] = 0.5 * state.get("m" + k, 0) + 0.5 * grads[k]
            v = state["v" + k] = 0.9 * state.get("v" + k, 0) + 0.1 * grads[k] ** 2
            largest = state["max" + k] = v_max(state.get("max" + k, 0 * v), v)
            made[k] = theta - 0.01 * m / (1 - 0.5**t) / (np.sqrt(largest / correction(t)) + 1e-8)
        return made

    report = compare_updates(step, torchs("Adam", betas=(0.5, 0.9), amsgrad=True), *problem(steps=12))
    (finding,) = report.findings
    assert message in finding.message
    assert finding.mend == mend


def test_the_right_lines_of_adamax_are_its_own():
    (finding,) = judged("Adamax", ("beta2 * state", "beta1 * state"), given=problem(steps=12)).findings
    assert finding.code == "moments-mixed-up"
    assert "u fades with beta1" in finding.message
    assert finding.mend.endswith("u = max(beta2 * u, abs(g) + eps)")


def test_no_parameter_is_called_right_that_is_wrong():
    def reference(tensors):
        return torch.optim.SGD([{"params": tensors[:1], "lr": 0.1}, {"params": tensors[1:], "lr": 0.2}])

    report = compare_updates(fits_nothing, reference, *problem())
    assert [finding.code for finding in report.findings] == ["unexplained"] * 2
    assert "look at what the code does otherwise" not in " ".join(finding.message for finding in report.findings)


def half_the_gradient(params, grads, state):
    made = {}
    for k, theta in params.items():
        d = grads[k] / 2
        d = d + 0.1 * theta
        buf = state[k] = 0.9 * state[k] + d if k in state else d
        made[k] = theta - 0.01 * buf
    return made


def test_one_slip_of_the_code_is_simpler_than_two_hyperparameters():
    report = compare_updates(half_the_gradient, torchs("SGD", momentum=0.9, weight_decay=0.1), *problem())
    (finding,) = report.findings
    assert finding.message == "in your code, `grads[k] / 2` should be `grads[k]`"
