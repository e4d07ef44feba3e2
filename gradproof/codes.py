"""The finding codes, in the order in which a reader can act on them."""

STRUCTURE = (
    "raised",
    "missing-gradient",
    "unexpected-gradient",
    "wrong-type",
    "wrong-shape",
    "wrong-dtype",
    "not-finite",
    "input-modified",
    "not-repeatable",
)

NUMBERS = (
    "wrong-loss",
    "broadcast",
    "overwritten",
    "flipped",
    "transposed",
    "wrong-sign",
    "wrong-scale",
    "one-sample-only",
    "last-step-only",
    "wrong-term-weight",
    "wrong-part-penalised",
)

GRAPH = (
    "missing-derivative",
    "extra-derivative",
    "derivative-at-wrong-point",
    "not-transposed",
    "diagonal-jacobian",
    "missing-path",
    "truncated-in-time",
    "shifted-in-time",
    "wrong-reduction",
    "wrong-axis",
    "different-function",
    "wrong-operand",
)

OPTIMIZERS = (
    "missing-bias-correction",
    "step-off-by-one",
    "epsilon-misplaced",
    "moments-mixed-up",
    "gradient-not-squared",
    "state-not-kept",
    "decay-misplaced",
    "wrong-hyperparameter",
)

CODES = (*STRUCTURE, *NUMBERS, *GRAPH, *OPTIMIZERS, "unexplained")
