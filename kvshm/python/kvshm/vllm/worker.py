# SPDX-License-Identifier: Apache-2.0
"""worker.py - the half in vLLM's worker: bytes between the engine's pages and the cache, whatever memory they are in

A load pins what the scheduler exported, copies all of it, and unpins.  A save asks for empty blocks, has them filled in
place and committed; the daemon's answer is looked for in later steps.  Which way is copied is for cpu.py and gpu.py to
say; here stands what is told of it.
"""
import time
from collections import Counter, deque
from typing import Any, Deque, Dict, List, Optional, Set, Tuple

import kvshm
from vllm.logger import init_logger

from ..link import Link
from .orders import Load, Orders, Report, Save, Space

EMPTY_STEP_S = 0.005            # how long a step with nothing to compute waits for what is under way
ANSWER_S = 5.0                  # a commit without an answer for so long went down with its daemon


class Group:
    """Layers with a namespace of their own: a KV cache group, or those of one that are alike."""

    def __init__(self, told: Space, space: kvshm.Namespace) -> None:
        self.told, self.space = told, space
        self.index, self.name = told.group, told.fingerprint


class WorkerHalf:
    is_behind = False           # are pages read after the step that ordered their save?

    def __init__(self, client: kvshm.Client, options: Any, groups: List[Any], may_resume: bool) -> None:
        self.client, self.options, self.groups, self.may_resume = client, options, groups, may_resume
        self.link = Link(client, init_logger("vllm.kvshm"))
        self.report = Report()
        self.finished: Deque[str] = deque()         # requests whose load has ended, well or not
        self.errors: Deque[List[int]] = deque()     # pages that were not loaded
        self.failed: Deque[str] = deque()           # of those whose load has ended: to be computed from the start
        self.ended: Deque[Tuple[int, bool]] = deque()
        self.waiting: Dict[int, float] = {}         # saves: when they were committed
        self.commits: "Counter[int]" = Counter()    # of each, not answered yet
        self.layered: List[Any] = []                # loads whose layers the step waits for
        self.hint = 0
        self.is_trusted = True

    # ---- what a way of copying does ------------------------------------------------------------------------
    def is_busy(self) -> bool:
        """Is something under way that a step has to look after?"""
        raise NotImplementedError

    def load(self, orders: Orders, is_empty_step: bool, has_layers: bool) -> None:
        """@has_layers: wait_for_layer() is called as the step goes, for what is in .layered then."""
        raise NotImplementedError

    def save_one(self, save: Save, deadline: float) -> None:
        raise NotImplementedError

    def before_step(self, taken_away: List[int]) -> None:
        """Nothing of the step has begun that gives pages of these saves to others."""

    def wait_for_layer(self, name: str) -> None:
        """The step is about to use the layer."""

    def after_step(self) -> None:
        """All of the step has been begun, and its failures are asked for next."""

    # ---- load ------------------------------------------------------------------------------------------------
    def loaded_now(self, load: Load, nr: int) -> None:
        """@nr: how many of its blocks, from the first on, have come in all groups."""
        self.report.taken[load.number] += 1
        if nr < load.nr:
            self.report.failed.add(load.number)
            self.errors.append(load.pages[0][nr:])

    def loaded_beside(self, load: Load, nr: int) -> None:
        """From any thread.  What is done last: it is asked for first."""
        if nr < load.nr and self.may_resume:
            self.errors.append(load.pages[0][nr:])
        elif nr < load.nr:
            self.failed.append(load.request)
        self.ended.append((load.number, nr == load.nr))
        self.finished.append(load.request)

    # ---- save ------------------------------------------------------------------------------------------------
    def save(self, orders: Orders) -> None:
        if orders.saves:
            self.link.look()
        deadline = time.monotonic() + self.options.save_wait_ms / 1e3
        for save in orders.saves:
            if save.hint != self.hint:
                self.client.set_hint(save.hint)
                self.hint = save.hint
            self.save_one(save, deadline)

    def look_for_answers(self, timeout: float = 0.0) -> None:
        for number, _, _, dropped, error in self.client.poll(timeout):
            if number not in self.waiting:
                continue
            if dropped or error:
                self.report.failed.add(number)
            self.commits[number] -= 1
            if not self.commits[number]:
                self.end_save(number)
        now = time.monotonic()
        for number in [n for n, since in self.waiting.items() if now - since > ANSWER_S]:
            self.report.failed.add(number)
            self.end_save(number)

    def end_save(self, number: int) -> None:
        self.report.done[number] += 1
        self.waiting.pop(number, None)
        del self.commits[number]

    # ---- what vLLM asks after each step ------------------------------------------------------------------
    def take_finished(self) -> Set[str]:
        return {self.finished.popleft() for _ in range(len(self.finished))}

    def take_errors(self) -> Set[int]:
        return {page for _ in range(len(self.errors)) for page in self.errors.popleft()}

    def take_failed(self) -> Set[str]:
        return {self.failed.popleft() for _ in range(len(self.failed))}

    def take_report(self) -> Optional[Report]:
        if self.waiting:
            self.look_for_answers()
        while self.ended:
            number, is_whole = self.ended.popleft()
            self.report.taken[number] += 1
            if not is_whole:
                self.report.failed.add(number)
        if not self.report:
            return None
        report, self.report = self.report, Report()
        return report

    def shutdown(self) -> None:
        self.client.close()
