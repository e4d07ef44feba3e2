"""Places in the reference: operations of one line that are done again and again are one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from gradproof.decompositions import OF_PROBABILITIES
from gradproof.source_names import called_at
from gradproof.tape import NOWHERE, VIEWS, Node, Site, Tape

# Functions of one array, entry by entry or row by row.
ELEMENTARY = (
    *"sigmoid tanh relu leaky_relu elu softplus gelu silu mish hardtanh _softmax _log_softmax".split(),
    *"exp log log1p log2 sin cos sqrt rsqrt abs".split(),
)
# What one helper may serve wherever it stands.
FUNCTIONS = (
    *ELEMENTARY,
    "convolution",
    *"avg_pool2d max_pool2d_with_indices upsample_nearest1d upsample_linear1d upsample_nearest2d".split(),
)
EACH = 8  # a place that is passed at most so often is also searched one passage at a time
BODY = 6  # operations that no coincidence repeats among others: those of one step of a fused recurrent module
SHORT = 40  # characters of what is quoted in a sentence
LONGEST_LINE = 4000  # operations of one line in which repetitions are looked for


@dataclass(frozen=True)
class Place:
    """One operation of one line, with all its passages (`nodes`, in the order in which they were done)."""

    site: Site
    name: str
    ordinal: int
    same_on_line: int
    nodes: tuple[Node, ...]
    caller: int = 0  # the line that calls the place's function, where several do
    everywhere: bool = False  # all operations of this name, on whatever line: a helper that serves them all
    whole: str = ""  # the fused operation that it is a part of, where it is meant in all of these
    passage: str = ""  # which of the times that it runs, where it is one layer of a loop over several
    among: int = 1  # of so many operations that its source text does
    copies: int = 1  # so many lines do the same with the same arrays: `nodes` has the first line's, then the next's

    @property
    def line(self) -> tuple[str, int, int]:
        """The file and line that the place stands on, and the line that calls it."""
        return self.site.file, self.site.line, self.caller

    @property
    def model(self) -> Node:
        """The passage to look at: the last, since the first of a loop may start from constants."""
        return self.nodes[-1]

    @property
    def results(self) -> list[int]:
        """The array that each passage makes."""
        return [node.outputs[0] for node in self.nodes]

    def __str__(self) -> str:
        """The operation in a reader's words: its own source where that is known, or which one of the line it is."""
        return f"{self._operation} ({self.passage})" if self.passage else self._operation

    @property
    def _operation(self) -> str:
        told = quoted(self.site) or self._called if self.same_on_line == 1 else ""
        if self.whole:
            which = "" if self.same_on_line == 1 else f"{ordinal(self.ordinal)} "
            return f"the {which}`{self.name}` of every `{self.whole}`"
        if self.everywhere:
            return f"every `{(told if self.copies > 1 else '') or self.name}`"
        name = f"`{_spelled(self.model)}`"
        if told:
            return f"`{told}`" if self.among == 1 else f"the {name} of `{told}`"
        if self.model.part is not None and self.model.part[0] in OF_PROBABILITIES:
            name += f" of `{plain(self.model.part[0])}`"
        return name if self.same_on_line == 1 else f"the {ordinal(self.ordinal)} {name}"

    @property
    def _called(self) -> str:
        """The function that does this and more, where its call is too long to be quoted."""
        called = called_at(self.site) if self.among > 1 and self.model.part is None else ""
        return f"{called}(...)" if called else ""

    @property
    def times(self) -> str:
        return f"of the {len(self.nodes)} times that {f'line {self.caller} calls it' if self.caller else 'it runs'}"

    def subsets(self, each: bool = True) -> Iterator[tuple[str, tuple[Node, ...]]]:
        """The passages that may be broken together, with the words for them: all, the last, all but the last, ...

        With `each`, also single ones between.
        """
        count = len(self.nodes)
        if self.everywhere:
            yield "", self.nodes
            return
        times = self.times
        if count == 1:
            yield f", where line {self.caller} calls it" if self.caller and not self.passage else "", self.nodes
        else:
            yield f", each {times}", self.nodes
            yield f", the last {times}", self.nodes[-1:]
            yield f", the first {times}", self.nodes[:1]
        if count > 2:
            yield f", all but the last {times}", self.nodes[:-1]
            yield f", all but the first {times}", self.nodes[1:]
        if 2 < count <= EACH and each:
            for k in range(1, count - 1):
                yield f", only number {k + 1} {times}", self.nodes[k : k + 1]


def period(done: Sequence[object]) -> int:
    """After how many entries a sequence repeats itself; its length where it does not."""
    return next((n for n in range(1, len(done)) if done[n:] == done[:-n]), len(done))


def _spelled(node: Node) -> str:
    """An operation as a reader would write it, where torch has a name of its own for it."""
    first = next(iter(node.constants), None)
    return f"{first} - x" if node.name == "rsub" and first is not None else node.name


def plain(fused: str) -> str:
    """The name of a fused operation as its caller knows it."""
    return fused.removeprefix("native_").removeprefix("_").removesuffix("_forward")


def layer_by_layer(places: list[Place], parameter_of: Callable[[int], str | None]) -> list[Place]:
    """Of loops whose passages have parameters of their own, as stacked layers have: each passage as a place.

    Where such a loop runs again at each step of another one, each layer's passages.
    """
    found = []
    periods = _periods(places, parameter_of)
    for place in places:
        layers = periods.get(len(place.nodes), 0)
        for k in range(layers if not place.everywhere and place.copies == 1 else 0):
            which = "the first" if k == 0 else "the last" if k == layers - 1 else f"number {k + 1}"
            words = f"{which} {place.times}" if layers == len(place.nodes) else f"{which} of each {layers}"
            found.append(replace(place, nodes=place.nodes[k::layers], passage=words))
    return found


def _periods(places: list[Place], parameter_of: Callable[[int], str | None]) -> dict[int, int]:
    """By the number of passages: after how many of them the parameters come again, where each has others."""
    found: dict[int, int] = {}
    for place in places:
        count = len(place.nodes)
        if count < 2 or place.everywhere or place.copies > 1:
            continue
        for position in range(min(len(node.inputs) for node in place.nodes)):
            names = [parameter_of(node.inputs[position]) for node in place.nodes]
            after = period(names)
            if None not in names and 1 < after == len(set(names)) <= EACH and count % after == 0:
                found[count] = after
    return found


def bare(tape: Tape, value: int) -> int:
    """The array that a value is a view of."""
    views = views_before(tape, value)
    return views[0].inputs[0] if views else value


def views_before(tape: Tape, value: int) -> list[Node]:
    """The views by which a value is made of another array, in their order."""
    views: list[Node] = []
    while (maker := tape.maker(value)) is not None and maker.name in VIEWS:
        views.insert(0, maker)
        value = maker.inputs[0]
    return views


def constant_factor(node: Node | None) -> float | None:
    """The number that an operation multiplies its one input by, if that is all that it does."""
    if node is None or node.name != "mul" or len(node.inputs) != 1:
        return None
    numbers = [one for one in node.constants if isinstance(one, (int, float)) and not isinstance(one, bool)]
    return float(numbers[0]) if numbers and numbers[0] else None


def quoted(site: Site) -> str:
    """The source text of an operation, where it is known and short enough for a sentence."""
    return site.expression if len(site.expression) <= SHORT else ""


def result_of_node(node: Node) -> str:
    """What an operation made, in words: as it is written, where that is short and all of it."""
    written = quoted(node.site) if node.part is None else ""
    if node.inner and written:
        return f"the result of the `{plain(node.name)}` of `{written}` (line {node.site.line})"
    return f"the result of `{written or node.name}` (line {node.site.line})"


def ordinal(index: int) -> str:
    """first, second ... for 0, 1 ..."""
    return _ORDINALS[index] if index < len(_ORDINALS) else f"{index + 1}th"


_ORDINALS = ("first", "second", "third", "fourth", "fifth")


def find_places(tape: Tape, everywhere: bool = False) -> list[Place]:
    """All places whose operations pass a gradient on, the one nearest to the loss first.

    A line of a function that is called from several lines is a place for each of them, and one for all together. With
    `everywhere`, also the places through which no gradient passes.
    """
    lines: dict[Site, list[Node]] = {}
    for node in tape.nodes:
        if node.site != NOWHERE:
            lines.setdefault(node.site, []).append(node)
    places: list[Place] = []
    for site, nodes in lines.items():
        by_caller: dict[tuple[tuple[str, int, int], ...], list[Node]] = {}
        for node in nodes:
            by_caller.setdefault(node.site.callers, []).append(node)
        for callers, group in by_caller.items():
            line = callers[0][1] if callers and len(by_caller) > 1 else 0
            own = [*_of_line(tape, site, group, everywhere, line)]
            known = {tuple(node.index for node in place.nodes) for place in own}
            more = _of_same_bodies(tape, site, group, everywhere, line)
            places += own + [one for one in more if tuple(node.index for node in one.nodes) not in known]
        if len(by_caller) > 1:
            places += _of_line(tape, site, nodes, everywhere, 0)
    places += [*_twins(places), *_of_one_parameter(tape, places), *_same_factors(places), *_copies(tape, places)]
    return sorted(places, key=lambda place: -place.nodes[-1].index)


def _twins(places: list[Place]) -> Iterator[Place]:
    """Functions that stand on several lines, or several times on one, as one place each: a helper may serve them all.

    So are the operations that fused ones (normalisations, say) are made of.
    """
    alike: dict[tuple[str, tuple[str, int] | None], list[Place]] = {}
    for place in places:
        part = None if place.name in FUNCTIONS else place.model.part
        if place.name in FUNCTIONS or part is not None:
            alike.setdefault((place.name, part), []).append(place)
    for (name, part), group in alike.items():
        nodes = {node.index: node for place in group for node in place.nodes}
        if len(nodes) > max(len(place.nodes) for place in group):
            every = tuple(nodes[i] for i in sorted(nodes))
            whole = "" if part is None else plain(part[0])
            count = 1 if part is None else group[0].same_on_line
            yield Place(group[0].site, name, group[0].ordinal, count, every, everywhere=True, whole=whole)


def _of_one_parameter(tape: Tape, places: list[Place]) -> Iterator[Place]:
    """Functions of several entries of one parameter, as one place: by hand it is one function of all of it."""
    names = {value: name for name, value in tape.parameters.items()}
    groups: dict[tuple[str, str], list[Place]] = {}
    for place in places:
        if place.name in ELEMENTARY and len(place.nodes) == 1 and not place.everywhere:
            value = place.model.inputs[0]
            while value in tape.producer and tape.nodes[tape.producer[value]].name in (*VIEWS, "select", "slice"):
                value = tape.nodes[tape.producer[value]].inputs[0]
            if value in names:
                groups.setdefault((place.name, names[value]), []).append(place)
    for (name, parameter), group in groups.items():
        if len(group) > 1:
            nodes = tuple(sorted((place.model for place in group), key=lambda node: node.index))
            yield Place(group[0].site, name, 0, 1, nodes, everywhere=True, passage=f"of {parameter}")


def _same_factors(places: list[Place]) -> Iterator[Place]:
    """The products of one line with the same number, as one place: fused attention scales queries and keys alike."""
    groups: dict[tuple[str, int, float], list[Place]] = {}
    for place in places:
        numbers = [one for one in place.model.constants if isinstance(one, float)]
        if place.name == "mul" and len(place.nodes) == 1 and numbers and not place.everywhere:
            groups.setdefault((place.site.file, place.site.line, numbers[0]), []).append(place)
    for group in groups.values():
        if len(group) > 1:
            nodes = tuple(sorted((place.model for place in group), key=lambda node: node.index))
            yield Place(group[0].site, "mul", 0, 1, nodes, everywhere=True)


def _copies(tape: Tape, places: list[Place]) -> Iterator[Place]:
    """What several lines do alike with the same arrays, as one place each: code by hand does it once and keeps it."""
    same = _same_values(tape)
    by_result: dict[tuple[int, ...], list[Place]] = {}
    for place in places:
        if not place.everywhere and place.name not in VIEWS:
            by_result.setdefault(tuple(same[value] for value in place.results), []).append(place)
    for group in by_result.values():
        nodes = tuple(node for place in group for node in place.nodes)
        if len(group) > 1 and len({node.index for node in nodes}) == len(nodes):
            first = group[0]
            yield replace(first, nodes=nodes, caller=0, everywhere=True, copies=len(group))


def _same_values(tape: Tape) -> dict[int, int]:
    """For each value the first one that was made in the same way of the same arrays."""
    same: dict[int, int] = {value: value for value in range(len(tape.values))}
    seen: dict[tuple[object, ...], Sequence[int]] = {}
    for node in tape.nodes:
        made = seen.setdefault((node.name, tuple(same[one] for one in node.inputs), repr(node.constants)), node.outputs)
        same.update(zip(node.outputs, made, strict=False))
    return same


def _of_line(tape: Tape, site: Site, nodes: list[Node], everywhere: bool, caller: int) -> Iterator[Place]:
    """The places of the operations of one line: those of a block that it repeats are told by their place in it."""
    for first, period, count in _blocks(tuple(node.name for node in nodes)):
        kinds = Counter(node.name for node in nodes[first : first + period])
        among = sum(count for name, count in kinds.items() if name not in VIEWS)
        seen: Counter[str] = Counter()
        for offset in range(first, first + period):
            name = nodes[offset].name
            passages = nodes[offset : first + period * count : period]
            chosen = [node for node in passages if everywhere or _passes_gradients(tape, node)]
            for arity in sorted({len(node.inputs) for node in chosen}):  # a number may stand for an array at some step
                alike = tuple(node for node in chosen if len(node.inputs) == arity)
                yield Place(site, name, seen[name], kinds[name], alike, caller, among=among)
            seen[name] += 1


def _of_same_bodies(tape: Tape, site: Site, nodes: list[Node], everywhere: bool, caller: int) -> Iterator[Place]:
    """The places of loops of one line that do the same in their steps: both directions, all layers of one module."""
    names = tuple(node.name for node in nodes)
    by_body: dict[tuple[str, ...], list[int]] = {}
    for first, period in _bodies(names, 0):
        by_body.setdefault(names[first : first + period], []).append(first)
    for body, starts in by_body.items():
        if len(body) < BODY or len(starts) < 2:
            continue
        kinds, seen = Counter(body), Counter[str]()
        for offset, name in enumerate(body):
            passages = [nodes[start + offset] for start in starts]
            chosen = tuple(node for node in passages if everywhere or _passes_gradients(tape, node))
            if len({len(node.inputs) for node in chosen}) == 1:
                yield Place(site, name, seen[name], kinds[name], chosen, caller)
            seen[name] += 1


def _bodies(names: tuple[str, ...], start: int) -> Iterator[tuple[int, int]]:
    """Each step of the innermost loops of a sequence: (first, length)."""
    for first, period, count in _blocks(names):
        if count == 1:
            continue
        body = names[first : first + period]
        inner = list(_bodies(body, 0))
        for k in range(count):
            at = start + first + k * period
            yield from ((at + one, length) for one, length in inner) if inner else [(at, period)]


def _passes_gradients(tape: Tape, node: Node) -> bool:
    return bool(tape.differentiable & set(node.inputs)) and any(v in tape.differentiable for v in node.outputs)


def _blocks(names: tuple[str, ...]) -> Iterator[tuple[int, int, int]]:
    """A sequence as blocks, each (first, length, repetitions): what is repeated most, and what stands around it."""
    found = _longest_repetition(names)
    if found is None:
        if names:
            yield 0, len(names), 1
        return
    first, period, count = found
    end = first + period * count
    yield from _blocks(names[:first])
    yield found
    yield from ((end + start, length, times) for start, length, times in _blocks(names[end:]))


@lru_cache(maxsize=1024)  # each line is looked at in several ways, and again for other numbers
def _longest_repetition(names: tuple[str, ...]) -> tuple[int, int, int] | None:
    """The block (first, length, repetitions) that covers most; the shortest, of those that cover as much."""
    best: tuple[int, int, int] | None = None
    covered = 0
    if len(names) > LONGEST_LINE:
        return None
    for period in range(1, len(names) // 2 + 1):
        run = 0
        for i in range(len(names) - period):
            run = run + 1 if names[i] == names[i + period] else 0
            times = run // period + 1
            is_loop = period >= BODY or times * period == len(names) or (times > 2 and period > 1)
            is_loop = is_loop or (times > 2 and times == len(names) - 1)  # the first or the last step is another one
            if times > 1 and times * period > covered and is_loop:
                covered = times * period
                best = (i + period + 1 - covered, period, times)
        if covered == len(names):
            break
    return best
