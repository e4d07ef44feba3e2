"""The time that a search may take, in all and in its parts, and the line that says it is taking long."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

LOG = logging.getLogger("gradproof")


@dataclass
class Clock:
    """The time that a search may take, the line that says it is taking long, and what ended a part of it early.

    The whole ends by the clock on the wall; how much of it a part may take is counted in computing time, so that a busy
    machine does not change what is found.
    """

    seconds: float
    started: float = field(default_factory=time.perf_counter)
    began: float = field(default_factory=time.thread_time)
    told: bool = False
    cut: bool = False
    share: float = 1.0  # of the time, that the part of the search at hand may take
    broken_off: str = ""  # the error that ended a part of the search
    _read: float = 0.0  # the share that was spent computing when that was last read,
    _read_at: float = field(default_factory=time.perf_counter)  # and when it was

    def worked(self) -> float:
        """The share of the time that was spent computing."""
        self._read_at = time.perf_counter()
        self._read = (time.thread_time() - self.began) / self.seconds
        return self._read

    def past(self, share: float) -> bool:
        """Whether this share of the time is spent.

        Computing is no longer than what passes, so that it is only read once it may be: on a busy machine that read, a
        call of the system, takes as long as a small backward pass.
        """
        at_most = self._read + (time.perf_counter() - self._read_at) / self.seconds
        return at_most > share and self.worked() > share

    def over(self) -> bool:
        spent = time.perf_counter() - self.started
        if spent > 2.0 and not self.told:
            self.told = True
            line = f"gradproof: searching for the mistake (up to {self.seconds:g} s) ..."
            print(line, file=sys.__stderr__, flush=True)
        self.cut = self.cut or spent > self.seconds
        return self.cut or self.past(self.share)

    def break_off(self, error: Exception) -> None:
        """Note an error that ended a part of the search: a defect of this package, which does not stop the rest."""
        self.broken_off = f"{type(error).__name__}: {error}"
        LOG.debug("a part of the search for the mistake broke off", exc_info=error)

    @contextlib.contextmanager
    def part(self, share: float) -> Iterator[None]:
        """Within it, the time is over once this share of it more is spent."""
        before = self.share
        self.share = min(before, self.worked() + share)
        try:
            yield
        finally:
            self.share = before
