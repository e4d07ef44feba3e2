"""From updates that differ to the rule that makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradproof.oracles import Arrays
from gradproof.report import Comparison, Finding


def diagnose_updates(
    reference: Callable[[Any], Any],
    params: Arrays,
    gradients: Sequence[Arrays],
    steps: Sequence[Arrays],
    comparisons: dict[str, Comparison],
    search: bool = True,
) -> list[Finding]:
    wrong = tuple(name for name, one in comparisons.items() if not one.ok)
    return [Finding("unexplained", wrong, "the updates differ", exact=False)]
