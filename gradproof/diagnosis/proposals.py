"""The broken rules that a search is to try: the likeliest first, and which of them for which parameters."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from gradproof.case import Case
from gradproof.diagnosis.clock import Clock
from gradproof.diagnosis.families import FAMILIES, OF_THE_FORWARD_PASS, Family
from gradproof.diagnosis.fault import Fault, OneInput
from gradproof.diagnosis.ownloss import belongs_to_own_loss
from gradproof.diagnosis.shadows import Shadows
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Tape
from gradproof.tolerances import largest

FAMILY_SHARE = 0.02  # of the time, for what one family proposes: on a long reference, what is nearest to the loss
NOTHING = 1e-9  # of the largest gradient
UNLIKELY = 5.0  # added to the rank of another forward pass where the loss is right, of the rest where it is wrong


@dataclass
class Proposals:
    """What all families propose for a comparison, in the order in which it is to be tried."""

    case: Case
    survey: Survey
    clock: Clock
    shadows: Shadows | None
    count: int = 0  # how many there were by now
    _behind: dict[Fault, frozenset[str]] = field(default_factory=dict)  # the parameters that it lies before
    _moving: dict[int, frozenset[str]] = field(default_factory=dict)  # by value, the parameters that it depends on

    @cached_property
    def likely(self) -> list[Fault]:
        """What is tried first: whoever has the loss right has made no other forward pass."""
        if self.case.forward_is_right:
            return [fault for fault in self._of_rules if not fault.consistent]
        return self._sorted(self._of_rules + self._of_the_forward_pass)

    @cached_property
    def near(self) -> list[Fault]:
        """Those of them that lie before nothing but wrong parameters, or say it only when they are run."""
        truth, case = self.case.truth.gradients, self.case
        top = max(largest(one) for one in truth.values())
        # A gradient that is zero is right whatever is broken.
        right = {name for name in case.gradients if name not in case.wrong and largest(truth[name]) > NOTHING * top}
        return [one for one in self.likely if not right & self._before(one)]

    @cached_property
    def far(self) -> list[Fault]:
        """The rest of them."""
        near = set(self.near)
        return [one for one in self.likely if one not in near]

    @cached_property
    def further(self) -> list[Fault]:
        """Those near ones that the reference may not have: of probabilities, those within the loss."""
        tape = self.survey.tape
        if not tape.how.probabilities:
            return self.near
        return [one for one in self.near if tape.of_probabilities & _operations(one, tape)]

    def sparing(self, explained: Collection[str]) -> list[Fault]:
        """Those near ones that lie before none of the parameters that are explained already."""
        return [one for one in self.near if self._before(one).isdisjoint(explained)]

    def elsewhere(self, explained: Collection[str]) -> list[Fault]:
        """All those that lie before some of the parameters that are explained already, or right."""
        sparing = set(self.sparing(explained))
        return [one for one in self.likely if one.local and one not in sparing]

    @cached_property
    def of_another_forward_pass(self) -> list[Fault]:
        """Those that are tried last where the loss is right: that only the gradient is another function's."""
        return self._sorted([*(one for one in self._of_rules if one.consistent), *self._of_the_forward_pass])

    @cached_property
    def belongs(self) -> bool:
        """Whether the gradient is the derivative of the candidate's own loss."""
        return bool(belongs_to_own_loss(self.case))

    @property
    def of_another_loss(self) -> bool:
        """Whether the loss is wrong, and the gradient is its derivative."""
        return not self.case.loss_is_right and self.belongs

    @cached_property
    def _of_rules(self) -> list[Fault]:
        return self._by(FAMILIES)

    @cached_property
    def _of_the_forward_pass(self) -> list[Fault]:
        return self._by(OF_THE_FORWARD_PASS)

    def _by(self, families: Sequence[Family]) -> list[Fault]:
        """What some families propose.

        A family that fails on a reference that nobody has thought of does not stop the others.
        """
        faults: list[Fault] = []
        for family in families:
            try:
                with self.clock.part(FAMILY_SHARE):
                    faults.extend(itertools.takewhile(lambda _: not self.clock.over(), family(self.survey)))
            except Exception as error:
                self.clock.break_off(error)
        if self.of_another_loss:
            faults = [one for one in faults if _may_belong_to_another_loss(self.survey.tape, one)]
        self.count += len(faults)
        return self._sorted(faults)

    def _sorted(self, faults: Sequence[Fault]) -> list[Fault]:
        loss_is_right = self.case.loss_is_right
        return sorted(faults, key=lambda one: one.rank + (0.0 if loss_is_right == one.local else UNLIKELY))

    def _before(self, fault: Fault) -> frozenset[str]:
        """The parameters that broken rules lie before; none where a fault is more than that."""
        if fault not in self._behind:
            self._behind[fault] = self._parameters_behind(fault) if fault.local else frozenset()
        return self._behind[fault]

    def _parameters_behind(self, fault: Fault) -> frozenset[str]:
        tape, values = self.survey.tape, list(fault.values)
        for index, hook in fault.nodes.items():
            inputs = tape.nodes[index].inputs
            values += [inputs[hook.position]] if isinstance(hook, OneInput) else inputs
        return frozenset().union(*(self._behind_value(value) for value in values))

    def _behind_value(self, value: int) -> frozenset[str]:
        """The parameters along which a value moves: of one gate's part of a stacked matrix, no other gate's."""
        if value not in self._moving:
            made_of = self.survey.tape.made_of.get(value, frozenset())
            self._moving[value] = made_of if self.shadows is None else made_of & self.shadows.moving(value, made_of)
        return self._moving[value]


def _may_belong_to_another_loss(tape: Tape, fault: Fault) -> bool:
    """Whether a fault may be one of a candidate whose gradient is the derivative of its own loss."""
    of_terms = bool(fault.values) and set(fault.values) <= set(tape.terms.values())
    return not fault.local or fault.other_loss is not None or of_terms


def _operations(fault: Fault, tape: Tape) -> set[int]:
    """Those at which a fault changes something, and those that make or take the values at which it does."""
    made = (tape.producer.get(value, -1) for value in fault.values)
    taking = (index for value in fault.values for index in tape.consumers.get(value, ()))
    return {*fault.nodes, *fault.forward, *fault.rewired, *made, *taking}
