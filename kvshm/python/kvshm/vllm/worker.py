# SPDX-License-Identifier: Apache-2.0
"""worker.py - the half in vLLM's worker: bytes between the engine's pages and the cache

A load pins what the scheduler exported, copies all of it in one call without the GIL, and unpins.  A save
asks for empty blocks, fills them in place and commits; the daemon's answer is looked for in later steps.
Both read and write CPU memory within the step: the engine's next step may give the pages to others.
"""
import concurrent.futures
import errno
import time
from collections import Counter, deque
from typing import Any, Deque, Dict, List, Optional, Set, Tuple

import kvshm
from vllm.logger import init_logger

from ..link import Link
from .keys import KEY_LEN
from .orders import Load, Orders, Part, Report

STAGED_BLOCKS = 16              # of one put of a client that is not trusted
EMPTY_STEP_S = 0.005            # how long a step with nothing to compute waits for loads
ANSWER_S = 5.0                  # a commit without an answer for so long went down with its daemon


class Group:
    """A KV cache group's namespace, and where its pages lie."""

    def __init__(self, index: int, space: kvshm.Namespace, name: bytes, pages: kvshm.Pages, is_loose: bool) -> None:
        self.index, self.space, self.name, self.pages = index, space, name, pages
        self.is_loose = is_loose                # its blocks are no chain

    def load(self, pages: List[int], export: Optional[bytes]) -> int:
        """Return: how many of the pages, from the first on, hold what they should."""
        if not pages or not export:
            return 0
        with self.space.import_pin(export) as pin:
            blocks = list(pin)[:len(pages)]
            self.pages.load(pages[:len(blocks)], blocks)
            return len(blocks)


class WorkerHalf:
    def __init__(self, client: kvshm.Client, options: Any, groups: List[Group], may_resume: bool) -> None:
        self.client, self.options, self.groups, self.may_resume = client, options, groups, may_resume
        self.link = Link(client, init_logger("vllm.kvshm"))
        self.report = Report()
        self.finished: Deque[str] = deque()         # requests whose load has ended, well or not
        self.errors: Deque[List[int]] = deque()     # pages that were not loaded
        self.failed: Deque[str] = deque()           # of those whose load has ended: to be computed from the start
        self.loader: Optional[concurrent.futures.ThreadPoolExecutor] = None
        self.flying: Set[concurrent.futures.Future] = set()
        self.ended: Deque[Tuple[int, bool]] = deque()
        self.waiting: Dict[int, float] = {}         # saves: when they were committed
        self.commits: "Counter[int]" = Counter()    # of each, not answered yet
        self.hint = 0
        self.is_trusted = True

    # ---- load ----------------------------------------------------------------------------------------
    def load(self, orders: Orders, is_empty_step: bool) -> None:
        for load in orders.loads:
            if load.is_async:
                self.flying.add(self.executor().submit(self.load_beside, load))
            else:
                self.load_now(load)
        if self.flying:
            self.look_after_flying(is_empty_step)

    def executor(self) -> concurrent.futures.ThreadPoolExecutor:
        if not self.loader:
            self.loader = concurrent.futures.ThreadPoolExecutor(1, "kvshm-load")
        return self.loader

    def look_after_flying(self, is_empty_step: bool) -> None:
        # The engine spins through empty steps, and would keep the GIL from the thread that loads.
        done, self.flying = concurrent.futures.wait(self.flying, EMPTY_STEP_S if is_empty_step else 0,
                                                    concurrent.futures.FIRST_COMPLETED)
        for future in done:
            future.result()

    def copy_in(self, load: Load) -> int:
        """Return: how many of its blocks, from the first on, have come in all groups."""
        nr = load.nr
        try:
            for group in self.groups:
                pages = load.pages[group.index]
                nr = min(nr, load.nr - len(pages) + group.load(pages, load.exports.get(group.name)))
        except Exception as error:      # a cache does not end its engine: the pages are reported
            self.link.failed("a load failed", error)
            return 0
        return nr

    def load_now(self, load: Load) -> None:
        nr = self.copy_in(load)
        self.report.taken[load.number] += 1
        if nr < load.nr:
            self.report.failed.add(load.number)
            self.errors.append(load.pages[0][nr:])

    def load_beside(self, load: Load) -> None:
        """In the loader's thread.  What is done last: it is asked for first."""
        nr = self.copy_in(load)
        if nr < load.nr and self.may_resume:
            self.errors.append(load.pages[0][nr:])
        elif nr < load.nr:
            self.failed.append(load.request)
        self.ended.append((load.number, nr == load.nr))
        self.finished.append(load.request)

    # ---- save ----------------------------------------------------------------------------------------
    def save(self, orders: Orders) -> None:
        if orders.saves:
            self.link.look()
        deadline = time.monotonic() + self.options.save_wait_ms / 1e3
        for save in orders.saves:
            if save.hint != self.hint:
                self.client.set_hint(save.hint)
                self.hint = save.hint
            self.report.taken[save.number] += 1
            is_whole = True
            for group in self.groups:
                part = save.parts.get(group.index)
                try:
                    is_whole &= part is None or self.copy_out(group, save.number, part, deadline)
                except Exception as error:  # as for loads
                    self.link.failed("a save failed", error)
                    is_whole = False
            if not is_whole:
                self.report.failed.add(save.number)
            if not self.commits[save.number]:
                self.end_save(save.number)

    def copy_out(self, group: Group, number: int, part: Part, deadline: float) -> bool:
        """Return: all pages of the group are on their way."""
        nr, parent, pages = 0, part.parent, part.pages
        while nr < len(pages):
            sent = self.send(group, number, pages[nr:], part.keys[nr * KEY_LEN:], parent,
                             max(0.0, deadline - time.monotonic()))
            if not sent:
                return False
            nr += sent
            parent = part.keys[(nr - 1) * KEY_LEN:nr * KEY_LEN]
            self.waiting[number] = time.monotonic()
            self.commits[number] += 1
        return True

    def send(self, group: Group, number: int, pages: List[int], keys: bytes, parent: Optional[bytes],
             timeout: float) -> int:
        """Commit the first of them.  Return: how many."""
        if self.is_trusted:
            try:
                return self.send_in_place(group, number, pages, keys, parent, timeout)
            except kvshm.Error as error:
                if error.errno != errno.EPERM:
                    raise
                self.is_trusted = False
        return self.send_staged(group, number, pages, keys, parent, timeout)

    @staticmethod
    def send_in_place(group: Group, number: int, pages: List[int], keys: bytes, parent: Optional[bytes],
                      timeout: float) -> int:
        grants = group.space.grant(len(pages), timeout)
        nr = len(grants)
        if not nr:
            return 0
        group.pages.save(pages[:nr], grants)
        return nr if group.space.commit(keys[:nr * KEY_LEN], grants, parent, group.is_loose, number) else 0

    @staticmethod
    def send_staged(group: Group, number: int, pages: List[int], keys: bytes, parent: Optional[bytes],
                    timeout: float) -> int:
        nr = min(len(pages), STAGED_BLOCKS)
        bytes_ = bytearray(nr * group.pages.page_len)
        group.pages.save(pages[:nr], bytes_)
        return nr if group.space.put(keys[:nr * KEY_LEN], bytes_, parent, group.is_loose, number, timeout) else 0

    def look_for_answers(self) -> None:
        for number, _, _, dropped, error in self.client.poll():
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
        if self.loader:
            self.loader.shutdown(wait=True)
        self.client.close()
