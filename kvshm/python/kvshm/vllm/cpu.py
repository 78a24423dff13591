# SPDX-License-Identifier: Apache-2.0
"""cpu.py - pages in CPU memory: loads and saves copy within the step, each in one call without the GIL

The engine's next step may give the pages to others, so a save is done when the step is.  A load that would hold up
the step for long is copied by a thread.
"""
import concurrent.futures
import errno
import time
from typing import Any, List, Optional, Set

import kvshm

from .keys import KEY_LEN
from .orders import Load, Orders, Part, Save, Space
from .worker import EMPTY_STEP_S, Group, WorkerHalf

STAGED_BLOCKS = 16              # of one put of a client that is not trusted


class CpuGroup(Group):
    """And where its pages lie."""

    def __init__(self, told: Space, space: kvshm.Namespace, pages: kvshm.Pages) -> None:
        super().__init__(told, space)
        self.pages, self.is_loose = pages, told.is_state

    def load(self, pages: List[int], export: Optional[bytes]) -> int:
        """Return: how many of the pages, from the first on, hold what they should."""
        if not pages or not export:
            return 0
        with self.space.import_pin(export) as pin:
            blocks = list(pin)[:len(pages)]
            self.pages.load(pages[:len(blocks)], blocks)
            return len(blocks)


class CpuWorker(WorkerHalf):
    def __init__(self, client: kvshm.Client, options: Any, groups: List[CpuGroup], may_resume: bool) -> None:
        super().__init__(client, options, groups, may_resume)
        self.loader: Optional[concurrent.futures.ThreadPoolExecutor] = None
        self.flying: "Set[concurrent.futures.Future[None]]" = set()

    def is_busy(self) -> bool:
        return bool(self.flying)

    # ---- load ----------------------------------------------------------------------------------------
    def load(self, orders: Orders, is_empty_step: bool, has_layers: bool) -> None:
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
        self.loaded_now(load, self.copy_in(load))

    def load_beside(self, load: Load) -> None:
        """In the loader's thread."""
        self.loaded_beside(load, self.copy_in(load))

    # ---- save ----------------------------------------------------------------------------------------
    def save_one(self, save: Save, deadline: float) -> None:
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

    def copy_out(self, group: CpuGroup, number: int, part: Part, deadline: float) -> bool:
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

    def send(self, group: CpuGroup, number: int, pages: List[int], keys: bytes, parent: Optional[bytes],
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
    def send_in_place(group: CpuGroup, number: int, pages: List[int], keys: bytes, parent: Optional[bytes],
                      timeout: float) -> int:
        grants = group.space.grant(len(pages), timeout)
        nr = len(grants)
        if not nr:
            return 0
        group.pages.save(pages[:nr], grants)
        return nr if group.space.commit(keys[:nr * KEY_LEN], grants, parent, group.is_loose, number) else 0

    @staticmethod
    def send_staged(group: CpuGroup, number: int, pages: List[int], keys: bytes, parent: Optional[bytes],
                    timeout: float) -> int:
        nr = min(len(pages), STAGED_BLOCKS)
        bytes_ = bytearray(nr * group.pages.page_len)
        group.pages.save(pages[:nr], bytes_)
        return nr if group.space.put(keys[:nr * KEY_LEN], bytes_, parent, group.is_loose, number, timeout) else 0

    def shutdown(self) -> None:
        if self.loader:
            self.loader.shutdown(wait=True)
        super().shutdown()
