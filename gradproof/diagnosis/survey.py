"""What the families of faults are given: the reference as a program, its places, and what stands for what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from gradproof.case import Problem
from gradproof.diagnosis.contributions import parameter_of, penalties
from gradproof.diagnosis.places import Place, find_places, layer_by_layer
from gradproof.diagnosis.pool import Pool
from gradproof.tape import Node, Tape, Tensor


@dataclass(frozen=True)
class Survey:
    """A tape, and what was found on it once for all families."""

    tape: Tape
    problem: Problem

    @cached_property
    def places(self) -> list[Place]:
        """The places that pass a gradient on, the one nearest to the loss first; then the layers of loops."""
        found = find_places(self.tape)
        return [*found, *layer_by_layer(found, partial(parameter_of, self.tape))]

    @cached_property
    def all_places(self) -> list[Place]:
        """Also those through which no gradient passes."""
        return find_places(self.tape, everywhere=True)

    @cached_property
    def pool(self) -> Pool:
        return Pool(self.tape, self.all_places)

    @cached_property
    def penalties(self) -> dict[frozenset[int], dict[str, Tensor]]:
        """For each line that penalises parameters, what it adds to their gradients."""
        return penalties(self.tape)

    @property
    def penalised(self) -> frozenset[str]:
        """The parameters that have a penalty."""
        return frozenset(name for one in self.penalties.values() for name in one)

    def subsets(self, place: Place) -> Iterator[tuple[str, tuple[Node, ...]]]:
        """The passages of a place that may have the same rule broken: single steps in time are not written apart."""
        return place.subsets(each=not self.pool.in_time(len(place.nodes)))
