"""AdamW: one step, by the number of parameters. torch takes its for-loop form, the default on a CPU."""

import numpy as np
import torch

from tests.optimizers.racing import all_forms, others_of_torch

SIZES = (10, 1_000, 100_000, 10_000_000)
UNIT = "parameters"
FORMS = ("loop", "vectorised", "tuned", "torch")


def contestants(impl, reference, size, dtype=np.float64):
    return all_forms(impl, reference, size, dtype)


def extra_contestants(impl, reference, size, dtype=np.float64):
    return others_of_torch(torch.optim.AdamW, size, dtype)


def test_speed(race):
    race(contestants)
