"""Checks a hand-written gradient, layer or optimizer against torch, and says which mistake gives exactly its numbers.

The names below are loaded when they are first used, so that listing and explaining need neither torch nor time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradproof.checking import (
        assert_gradients_match,
        assert_layer_matches,
        assert_updates_match,
        compare_gradients,
        compare_layers,
        compare_updates,
        gradients_of_update,
    )
    from gradproof.report import Finding, GradientMismatch, Report

_HOME = {
    "assert_gradients_match": "checking",
    "assert_layer_matches": "checking",
    "assert_updates_match": "checking",
    "compare_gradients": "checking",
    "compare_layers": "checking",
    "compare_updates": "checking",
    "gradients_of_update": "checking",
    "Finding": "report",
    "GradientMismatch": "report",
    "Report": "report",
}

__all__ = [
    "Finding",
    "GradientMismatch",
    "Report",
    "assert_gradients_match",
    "assert_layer_matches",
    "assert_updates_match",
    "compare_gradients",
    "compare_layers",
    "compare_updates",
    "gradients_of_update",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gradproof' has no attribute {name!r}")
    return getattr(importlib.import_module(f"gradproof.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
