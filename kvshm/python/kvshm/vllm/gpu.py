# SPDX-License-Identifier: Apache-2.0
"""gpu.py - pages in a device's memory: copied by its own engines, beside the steps

  before a step   pages that it gives to others: its stream waits for the saves that still read them
  load            the pins are handed to a job of the library; a layer's attention waits on the device for that layer,
                  or, beside the steps, the request is told of when all has landed
  save            granted blocks are handed to a job behind the step; what has landed is committed by a later look

No thread, and the processor waits for a copy only where a bounced one must be pushed on.  A page is left to the
engine only when the device writes it no more: a load that failed counts as ended when what was issued has landed.
"""
import dataclasses
import errno
import time
from collections import Counter
from typing import Any, Callable, List, Optional, Tuple

import kvshm

from ..gpu_layout import Layout
from .keys import KEY_LEN
from .orders import Load, Orders, Save
from .worker import EMPTY_STEP_S, Group, WorkerHalf

MAX_JOBS = 16
MAX_SAVES = 12                  # of these, so that a load finds room
BOUNCE_LEN = 64 << 20           # for each direction, where the device may not reach the cache itself
NAP_S = 0.001
HANG_S = 10.0                   # a device that does not end a load for so long will not


def current_stream(device: Any) -> int:
    """The one that the engine's kernels go to."""
    import torch

    return int(torch.cuda.current_stream(device).cuda_stream)


class Flight:
    """A job, and what it is for."""

    __slots__ = ("order", "job", "parts", "nr", "ordered", "is_failed")

    def __init__(self, order: Any, job: kvshm.Job, parts: int = 0, nr: int = 0) -> None:
        self.order = order
        self.job: Any = job             # until it has ended, and another may have its place
        self.parts = parts              # of a save: commits that it makes
        self.nr = nr                    # of a load: blocks that come
        self.ordered = -1               # of a load by layers: the last that the step waits for
        self.is_failed = False

    def is_over(self) -> bool:
        """Does the device touch neither pages nor blocks any more?  One that is lost computes no more either."""
        try:
            return bool(self.job.is_over())
        except kvshm.Error:
            return True

    def end(self) -> Optional[kvshm.Error]:
        """Of one that is over: what has failed."""
        job, self.job = self.job, None
        try:
            job.wait()
        except kvshm.Error as error:
            return error
        return None


class GpuWorker(WorkerHalf):
    is_behind = True

    def __init__(self, client: kvshm.Client, options: Any, groups: List[Group], may_resume: bool, layout: Layout,
                 gpu: kvshm.Gpu, stream: Callable[[], int]) -> None:
        super().__init__(client, options, groups, may_resume)
        self.layout, self.gpu, self.stream = layout, gpu, stream
        self.slots = max(1, BOUNCE_LEN // max(-(-gpu.block_len(i) // 4096) * 4096 for i in range(len(groups))))
        self.loads: List[Flight] = []
        self.saves: List[Flight] = []
        self.queue: List[Load] = []             # wait for a job to be had
        self.landing: "Counter[int]" = Counter()    # of each save: jobs that have not ended
        self.has_hooks = True

    def is_busy(self) -> bool:
        return bool(self.loads or self.saves or self.queue or self.waiting)

    # ---- a step ----------------------------------------------------------------------------------------------
    def before_step(self, taken_away: List[int]) -> None:
        for flight in self.saves:
            if flight.order.number in taken_away and not self.is_ordered(flight):
                self.give_up(flight)

    def is_ordered(self, flight: Flight) -> bool:
        try:
            return bool(flight.job.block(None, self.stream()))
        except kvshm.Error:
            return False

    def give_up(self, flight: Flight) -> None:
        """What it still copies is never committed."""
        try:
            flight.job.cancel()
        except kvshm.Error:
            pass

    def after_step(self) -> None:
        """All of the step has been begun, and its failures are asked for next."""
        for flight in self.layered:
            if flight.ordered + 1 < len(self.layout.layers):
                self.unhooked(flight)
        self.layered.clear()
        self.look()

    def unhooked(self, flight: Flight) -> None:
        """The step has read layers that nobody has waited for."""
        self.has_hooks = False
        self.link.failed("a load by layers", RuntimeError("some layer did not wait; from now on steps wait for all"))
        self.wait_for(flight, None)     # whoever computes the pages next
        flight.is_failed = True
        if flight in self.loads:
            self.loads.remove(flight)
            self.loaded_now(flight.order, 0)
        else:                           # it has landed, and was told of as that
            self.report.failed.add(flight.order.number)
            self.errors.append(flight.order.pages[0])

    def look(self) -> None:
        for flight in [f for f in self.loads if f.is_over()]:
            self.loads.remove(flight)
            self.end_load(flight)
        for flight in [f for f in self.saves if f.is_over()]:
            self.saves.remove(flight)
            self.end_job(flight)
        while self.queue and self.begin(self.queue[0], 0)[0]:
            self.queue.pop(0)

    def nap(self) -> None:
        """The engine has nothing to compute: it would spin."""
        flights = self.loads or self.saves
        if flights:
            try:
                flights[0].job.wait(timeout=EMPTY_STEP_S)
            except kvshm.Error:
                time.sleep(NAP_S)       # it has failed, and has not ended
        elif self.waiting:
            self.look_for_answers(EMPTY_STEP_S)

    # ---- load ------------------------------------------------------------------------------------------------
    def load(self, orders: Orders, is_empty_step: bool, has_layers: bool) -> None:
        for load in orders.loads:
            if not load.is_async:
                self.load_now(load, has_layers and self.has_hooks)
            elif self.queue or not self.begin(load, 0)[0]:
                self.queue.append(load)
        if is_empty_step:
            self.nap()

    def load_now(self, load: Load, has_layers: bool) -> None:
        deadline = time.monotonic() + HANG_S
        is_begun, flight = self.begin(load, int(has_layers))
        while not is_begun and time.monotonic() < deadline:
            time.sleep(NAP_S)
            self.look()
            is_begun, flight = self.begin(load, int(has_layers))
        if not is_begun:
            self.loaded_now(load, 0)
        elif flight and has_layers:
            self.layered.append(flight)
        elif flight:
            self.wait_for(flight, None)

    def begin(self, load: Load, layers_per_step: int) -> Tuple[bool, Optional[Flight]]:
        """Return: False if there is no room; True without a flight if it was told of as failed."""
        job, nr = None, 0
        try:
            entries, nr = self.pin(load)
            if nr:
                job = self.gpu.load(entries, layers_per_step=layers_per_step, stream=self.stream(), after=True)
        except Exception as error:      # a cache does not end its engine: the pages are reported
            if isinstance(error, kvshm.DeviceError) and error.errno == errno.EBUSY:
                return False, None
            self.link.failed("a load failed", error)
        if not job:
            self.tell(load, 0)
            return True, None
        flight = Flight(load if load.is_async else self.shortened(load, nr), job, nr=nr)
        self.loads.append(flight)
        return True, flight

    def shortened(self, load: Load, nr: int) -> Load:
        """What does not come at all must be told of in the step that would use it."""
        if nr == load.nr:
            return load
        self.report.failed.add(load.number)
        self.errors.append(load.pages[0][nr:])
        return dataclasses.replace(load, nr=nr, pages=[load.pages[0][:nr]])

    def pin(self, load: Load) -> Tuple[List[Any], int]:
        """And how many of its blocks, from the first on, can come in all groups."""
        entries: List[Any] = []
        nr = load.nr
        for group in self.groups:
            pages, export = load.pages[group.index], load.exports.get(group.name)
            pin = group.space.import_pin(export) if pages and export else None
            blocks = min(len(pin), len(pages)) if pin else 0
            entries.append((pin, pages[:blocks]) if blocks else None)
            nr = min(nr, load.nr - len(pages) + blocks)
        return entries, nr if any(entries) else 0

    def tell(self, load: Load, nr: int) -> None:
        (self.loaded_beside if load.is_async else self.loaded_now)(load, nr)

    def end_load(self, flight: Flight) -> None:
        error = flight.end()
        if error:
            self.link.failed("a load failed", error)
        self.tell(flight.order, 0 if error or flight.is_failed else flight.nr)

    # ---- the layers of a step ----------------------------------------------------------------------------------
    def wait_for_layer(self, name: str) -> None:
        layer = self.layout.at.get(name)
        for flight in self.layered:
            if layer is not None and layer > flight.ordered:
                self.wait_for(flight, layer)

    def wait_for(self, flight: Flight, layer: Optional[int]) -> None:
        """The step's stream does, for all layers up to it; None: for all there are."""
        if flight.job and not self.is_pushed(flight, layer):
            flight.is_failed = True
            self.give_up(flight)
            self.wait_over(flight)
        flight.ordered = len(self.layout.layers) - 1 if layer is None or flight.is_failed else layer

    def is_pushed(self, flight: Flight, layer: Optional[int]) -> bool:
        deadline = time.monotonic() + HANG_S
        try:
            while not flight.job.block(layer, self.stream()):
                if time.monotonic() > deadline:
                    return False
                flight.job.wait(layer, timeout=NAP_S)   # a bounced one: slices are filled and drained meanwhile
        except kvshm.Error:
            return False
        return True

    def wait_over(self, flight: Flight) -> None:
        """Of one that has failed, before its pages are computed: what was issued would come over that."""
        deadline = time.monotonic() + HANG_S
        while not flight.is_over():
            if time.monotonic() > deadline:
                raise RuntimeError(f"kvshm: the device has not ended a copy for {HANG_S:.0f} s: this process must end, "
                                   "or what it computes could be written over")
            time.sleep(NAP_S)

    # ---- save ------------------------------------------------------------------------------------------------
    def save_one(self, save: Save, deadline: float) -> None:
        self.landing[save.number] += 1                  # the beginning of it counts as one
        try:
            is_whole = self.save_trusted(save, deadline) if self.is_trusted else self.save_buffered(save, deadline)
        except Exception as error:      # as for loads
            self.link.failed("a save failed", error)
            is_whole = False
        if not is_whole:
            self.report.failed.add(save.number)
        self.has_landed(save.number)

    def save_trusted(self, save: Save, deadline: float) -> bool:
        try:
            return self.save_granted(save, deadline)
        except kvshm.Error as error:
            if error.errno != errno.EPERM:
                raise
        self.is_trusted = False
        return self.save_buffered(save, deadline)

    def save_granted(self, save: Save, deadline: float) -> bool:
        """Return: all pages of all groups are on their way."""
        entries, is_whole = [], True
        for group in self.groups:
            part = save.parts[group.index]
            pages, keys = part.pages, part.keys
            grants = self.grant(group.space, len(pages), deadline)
            nr = len(grants)
            is_whole &= nr == len(pages)
            entries.append((group.space, keys[:nr * KEY_LEN], grants, pages[:nr], part.parent) if nr else None)
        return (not any(entries) or self.begin_save(save, entries, deadline)) and is_whole

    @staticmethod
    def grant(space: kvshm.Namespace, nr: int, deadline: float) -> List[kvshm.Grant]:
        grants: List[kvshm.Grant] = []
        while len(grants) < nr:
            more = space.grant(nr - len(grants), max(0.0, deadline - time.monotonic()))
            grants += more
            if not more:
                break
        return grants

    def save_buffered(self, save: Save, deadline: float) -> bool:
        """In as many jobs as the library's buffer makes it."""
        for at, group in enumerate(self.groups):
            part = save.parts[group.index]
            pages, keys, parent = part.pages, part.keys, part.parent
            for first in range(0, len(pages), self.slots):
                end = min(first + self.slots, len(pages))
                entries: List[Any] = [None] * len(self.groups)
                entries[at] = group.space, keys[first * KEY_LEN:end * KEY_LEN], None, pages[first:end], parent
                parent = keys[(end - 1) * KEY_LEN:end * KEY_LEN]
                if not self.begin_save(save, entries, deadline):
                    return False
        return True

    def begin_save(self, save: Save, entries: List[Any], deadline: float) -> bool:
        """Return: False if there was no room until @deadline."""
        while True:
            try:
                if len(self.saves) < MAX_SAVES:
                    job = self.gpu.save(entries, tag=save.number, stream=self.stream(), after=True)
                    break
            except kvshm.DeviceError as error:
                if error.errno != errno.EBUSY:
                    raise
            if time.monotonic() > deadline:
                return False
            time.sleep(NAP_S)
            self.look()
        parts = sum(entry is not None for entry in entries)
        self.saves.append(Flight(save, job, parts=parts))
        self.landing[save.number] += 1
        self.commits[save.number] += parts + 1          # one for the landing
        self.waiting[save.number] = float("inf")        # for an answer: not before it has landed
        return True

    def end_job(self, flight: Flight) -> None:
        number, error = flight.order.number, flight.end()
        self.commits[number] -= 1
        if error:
            if error.errno != errno.ECANCELED:
                self.link.failed("a save failed", error)
            self.report.failed.add(number)
            self.commits[number] -= flight.parts
        self.has_landed(number)

    def has_landed(self, number: int) -> None:
        """One of its jobs, or it never will.  The last: what is left is for the daemon to answer."""
        self.landing[number] -= 1
        if self.landing[number]:
            return
        del self.landing[number]
        self.report.taken[number] += 1
        if self.commits[number] > 0:
            self.waiting[number] = time.monotonic()
        else:
            self.end_save(number)

    def shutdown(self) -> None:
        try:
            self.gpu.close()
        except kvshm.Error as error:
            self.link.failed("the device's end", error)
        super().shutdown()
