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
from .orders import Load, Orders, Report, Save

STAGED_BLOCKS = 16              # of one put of a client that is not trusted
EMPTY_STEP_S = 0.005            # how long a step with nothing to compute waits for loads
ANSWER_S = 5.0                  # a commit without an answer for so long went down with its daemon


class WorkerHalf:
    def __init__(self, client: kvshm.Client, options: Any, space: kvshm.Namespace, name: bytes,
                 pages: Any) -> None:
        self.client, self.options, self.space, self.name, self.pages = client, options, space, name, pages
        self.link = Link(client, init_logger("vllm.kvshm"))
        self.report = Report()
        self.finished: Deque[str] = deque()         # requests whose load has ended, well or not
        self.errors: Deque[List[int]] = deque()     # pages that were not loaded
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
        """Return: how many of its pages, from the first on, hold what they should."""
        data = load.exports.get(self.name)
        if not data:
            return 0
        try:
            with self.space.import_pin(data) as pin:
                blocks = list(pin)[:len(load.pages)]
                self.pages.load(load.pages[:len(blocks)], blocks)
                return len(blocks)
        except Exception as error:      # a cache does not end its engine: the pages are reported
            self.link.failed("a load failed", error)
            return 0

    def load_now(self, load: Load) -> None:
        nr = self.copy_in(load)
        self.report.taken[load.number] += 1
        if nr < len(load.pages):
            self.report.failed.add(load.number)
            self.errors.append(load.pages[nr:])

    def load_beside(self, load: Load) -> None:
        """In the loader's thread.  What is done last: it is asked for first."""
        nr = self.copy_in(load)
        if nr < len(load.pages):
            self.errors.append(load.pages[nr:])
        self.ended.append((load.number, nr == len(load.pages)))
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
            try:
                nr = self.copy_out(save, deadline)
            except Exception as error:  # as for loads
                self.link.failed("a save failed", error)
                nr = 0
            if nr < len(save.pages):
                self.report.failed.add(save.number)
            if not self.commits[save.number]:
                self.end_save(save.number)

    def copy_out(self, save: Save, deadline: float) -> int:
        """Return: how many of its pages, from the first on, are on their way."""
        nr, parent = 0, save.parent
        while nr < len(save.pages):
            pages = save.pages[nr:]
            sent = self.send(save.number, pages, save.keys[nr * KEY_LEN:], parent,
                             max(0.0, deadline - time.monotonic()))
            if not sent:
                break
            nr += sent
            parent = save.keys[(nr - 1) * KEY_LEN:nr * KEY_LEN]
            self.waiting[save.number] = time.monotonic()
            self.commits[save.number] += 1
        return nr

    def send(self, number: int, pages: List[int], keys: bytes, parent: Optional[bytes], timeout: float) -> int:
        """Commit the first of them.  Return: how many."""
        if self.is_trusted:
            try:
                return self.send_in_place(number, pages, keys, parent, timeout)
            except kvshm.Error as error:
                if error.errno != errno.EPERM:
                    raise
                self.is_trusted = False
        return self.send_staged(number, pages, keys, parent, timeout)

    def send_in_place(self, number: int, pages: List[int], keys: bytes, parent: Optional[bytes],
                      timeout: float) -> int:
        grants = self.space.grant(len(pages), timeout)
        nr = len(grants)
        if not nr:
            return 0
        self.pages.save(pages[:nr], grants)
        return nr if self.space.commit(keys[:nr * KEY_LEN], grants, parent, tag=number) else 0

    def send_staged(self, number: int, pages: List[int], keys: bytes, parent: Optional[bytes],
                    timeout: float) -> int:
        nr = min(len(pages), STAGED_BLOCKS)
        bytes_ = bytearray(nr * self.pages.page_len)
        self.pages.save(pages[:nr], bytes_)
        return nr if self.space.put(keys[:nr * KEY_LEN], bytes_, parent, tag=number, timeout=timeout) else 0

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
