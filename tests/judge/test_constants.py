"""Constants in a reader's words."""

import numpy as np
import pytest

from gradproof.case import Problem
from gradproof.diagnosis.constants import named

PROBLEM = Problem({"W": np.zeros((3, 24))}, (np.zeros((5, 7)),), 0)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (5.0, "the batch size 5"),
        (0.2, "1/5 (one over the batch size 5)"),
        (-7.0, "minus 7, the length of axis 1 of data[0]"),
        (7 / 3, "7/3 (perhaps 7, the length of axis 1 of data[0], over 3, the length of axis 0 of W)"),
        (8.0, "8"),  # 24 over 3, and much else
        (1 / 8, "1/8"),
        (0.37, "0.37"),
        (np.pi, None),
    ],
)
def test_words(factor, words):
    assert named(factor, PROBLEM) == words


def test_the_steps_of_a_sequence_whose_next_entry_is_to_be_told():
    problem = Problem({"W": np.zeros((3, 2))}, (np.zeros((5, 8), dtype=int),), 0)
    assert named(1 / 7, problem) == "1/7 (one over 7, one less than the length of axis 1 of data[0])"
