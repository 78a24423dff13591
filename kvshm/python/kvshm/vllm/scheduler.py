# SPDX-License-Identifier: Apache-2.0
"""scheduler.py - the half in vLLM's scheduler: what to load, what to save, which pins to hold

A request's life here: match() pins what is cached, allocated() turns the pin into an order to load,
saves() adds what each step completes, settle() takes the workers' reports.  A pin that an order stands
on is held until each worker has imported it or committed behind it.

What a step computes from a load that fails is wrong, and other requests of the step may share its pages;
the workers report failures after the step only.  So nothing that stands on a load is saved before that
load is known to have come: such saves wait for a later step.

Each KV cache group of each worker has a namespace with the same keys, and a hit is what all have.  Of layers with a
window only the blocks inside it are loaded.
"""
import itertools
import time
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

import kvshm

from .hints import Sessions, finished_word, given_fields, own_blocks, word
from .groups import behind_window, until_gone
from .keys import Keys
from .orders import Load, Report, Save, Space

LOOK_S = 1.0
TICKETS = itertools.count(1)


class State:
    """What is known of a request."""

    __slots__ = ("request", "keys", "fields", "hint", "pins", "first", "is_async", "sent", "due", "may_load",
                 "ticket", "is_held")

    def __init__(self, request: Any, session: Dict[str, Any]) -> None:
        self.request = request
        self.keys = Keys(request)
        self.fields = {**session, **given_fields(request)}
        self.hint = word(self.fields)
        self.pins: List[kvshm.Pin] = []     # of the match, until it is loaded
        self.first = 0                      # blocks of the match that the engine has itself
        self.is_async = False               # how it is loaded
        self.sent = 0                       # blocks that are cached or on their way
        self.due = 1                        # blocks at which the next save is worth looking at
        self.may_load = True
        self.ticket = next(TICKETS)
        self.is_held = False

    def let_go(self) -> None:
        for pin in self.pins:
            pin.release()
        self.pins = []


class Order:
    """One that not all workers have answered yet."""

    __slots__ = ("state", "pins", "first", "end", "to_take", "to_do", "is_failed", "pages")

    def __init__(self, state: State, pins: List[kvshm.Pin], workers: int, first: int = 0, end: int = 0) -> None:
        self.state, self.pins = state, pins
        self.first, self.end = first, end   # of a save: its blocks
        self.to_take, self.to_do = workers, workers if end else 0
        self.is_failed = False
        self.pages: Set[int] = set()        # that workers may still read


class SchedulerHalf:
    def __init__(self, client: kvshm.Client, options: Any, block_tokens: int, may_resume: bool, events: Any) -> None:
        self.client, self.options, self.block_tokens, self.events = client, options, block_tokens, events
        self.may_resume = may_resume        # behind a failed block of a load
        self.spaces: List[Tuple[Space, kvshm.Namespace]] = []
        self.workers = 0
        self.block_len = 0                  # of all workers together
        self.is_behind = False              # do workers read pages after the step?
        self.may_load = self.may_save = True
        self.states: Dict[str, State] = {}
        self.loads: List[Load] = []         # of the step that is being made
        self.open: Dict[int, Order] = {}
        self.unsure: Dict[int, Set[int]] = {}   # pages of synchronous loads, until they are taken
        self.numbers = itertools.count(1)
        self.sessions = Sessions()
        self.hint = 0
        self.next_look = 0.0

    def attach(self, workers: Sequence[Iterable[Space]], is_behind: bool) -> None:
        """The workers have told what they keep."""
        self.is_behind = is_behind
        self.spaces = [(space, self.client.attach_ns(space.fingerprint, space.layout, space.block_len,
                                                     space.block_tokens, space.label))
                       for spaces in workers for space in spaces]
        self.workers = len(workers)
        self.block_len = sum(space.block_len for space, _ in self.spaces)

    def add(self, request: Any) -> State:
        state = self.states[request.request_id] = State(request, self.sessions.fields(request))
        return state

    def queued(self, request: Any) -> None:
        """It waits: what is cached of its prompt had better stay until it runs, by whose match this ends."""
        state = self.add(request)
        if self.spaces and self.may_load:
            self.hold(state, "queued")

    def hold(self, state: State, why: str) -> None:
        keys = state.keys()
        for _, ns in self.spaces:
            state.is_held |= len(keys) > 0 and ns.hold(keys, why, ticket=state.ticket)

    # ---- match ---------------------------------------------------------------------------------------
    def acquire(self, state: State) -> List[kvshm.Pin]:
        """Pins of the longest prefix that all groups of all workers have, one for each."""
        if state.hint != self.hint:
            self.client.set_hint(state.hint)
            self.hint = state.hint
        keys = state.keys()
        if len(self.spaces) == 1:
            return [self.spaces[0][1].acquire(keys)]
        return kvshm.acquire_group([(ns, keys) for _, ns in self.spaces])

    def look(self) -> None:
        """At the socket: one who only reads hears of a daemon's end by the superblock, if that was told."""
        now = time.monotonic()
        if now >= self.next_look:
            self.next_look = now + LOOK_S
            self.client.poll()

    def match(self, request: Any, computed: int) -> Tuple[int, bool]:
        """Tokens beyond @computed that can be loaded, and whether beside the steps."""
        state = self.states.get(request.request_id) or self.add(request)
        if not self.spaces or not self.may_load or not state.may_load:
            return 0, False
        self.look()
        state.let_go()                  # of an earlier call; both together might be more than the quota
        pins = self.acquire(state)
        first, blocks = computed // self.block_tokens, pins[0].matched
        if blocks <= first:
            return 0, False
        is_async = not self.may_resume or self.options.is_async((blocks - first) * self.block_len)
        if not is_async:                # the step that loads must have a token to compute
            blocks = min(blocks, (request.num_tokens - 1) // self.block_tokens)
            if blocks <= first:
                return 0, False
        state.pins, state.first, state.is_async = pins, first, is_async
        return (blocks - first) * self.block_tokens, is_async

    def allocated(self, request: Any, pages: Sequence[List[int]], tokens: int) -> None:
        """The engine has given pages to a request, of each group, and takes @tokens of the match."""
        state = self.states.get(request.request_id) or self.add(request)
        if not tokens:
            state.let_go()
            return
        end = state.first + tokens // self.block_tokens
        self.loads.append(self.order_load(state, [group[state.first:end] for group in pages], end))

    def order_load(self, state: State, pages: List[List[int]], end: int) -> Load:
        number, exports = next(self.numbers), {}
        left_out = [behind_window(group) for group in pages]
        for (space, _), pin in zip(self.spaces, state.pins):
            try:
                exports[space.fingerprint] = pin.export(first=state.first + left_out[space.group])
            except (kvshm.Error, ValueError):   # less than it seemed: the worker has nothing to load
                pass
        self.open[number] = Order(state, state.pins, self.workers)
        if not state.is_async:
            self.unsure[number] = set(pages[0])
        nr = end - state.first
        state.pins = []
        state.sent, state.due = max(state.sent, end), max(state.due, end + 1)
        return Load(number, state.request.request_id, state.is_async, nr,
                    [group[out:] for group, out in zip(pages, left_out)], exports)

    def take_loads(self) -> List[Load]:
        loads, self.loads = self.loads, []
        return loads

    # ---- save ----------------------------------------------------------------------------------------
    def saves(self, output: Any) -> List[Save]:
        """What the step completes and the cache does not have."""
        saves: List[Save] = []
        if self.spaces and self.may_save:
            for request_id, tokens in output.num_scheduled_tokens.items():
                state = self.states.get(request_id)
                if state and (state.request.num_computed_tokens + tokens) // self.block_tokens >= state.due:
                    save = self.order_save(state, tokens, output)
                    if save:
                        saves.append(save)
        return saves

    def order_save(self, state: State, tokens: int, output: Any) -> Optional[Save]:
        keys = state.keys()
        full = min((state.request.num_computed_tokens + tokens) // self.block_tokens, len(keys))
        if full < state.due:
            return None
        pages = output.kv_connector_block_state.get_block_ids(state.request.request_id)
        if any(not unsure.isdisjoint(pages[0]) for unsure in self.unsure.values()):
            return None
        pins = self.acquire(state)
        first = max(pins[0].matched, state.sent)
        state.sent, state.due = max(first, full), max(first, full) + 1
        if first >= full:
            return None
        number = next(self.numbers)
        order = self.open[number] = Order(state, pins, self.workers, first, full)
        read = [until_gone(group[first:full]) for group in pages]
        if self.is_behind:
            order.pages.update(*read)
        return Save(number, read, b"".join(keys[first:full]), keys[first - 1] if first else None, state.hint)

    def taken_away(self, output: Any, loads: List[Load]) -> List[int]:
        """Saves that may still read pages which the step gives to others."""
        if not (self.is_behind and self.open):
            return []
        reading = [(number, order.pages) for number, order in self.open.items() if order.pages]
        given: Set[int] = set()
        for new in output.scheduled_new_reqs:
            given.update(*new.block_ids)
        for pages in output.scheduled_cached_reqs.new_block_ids:
            given.update(*(pages or ()))
        for load in loads:
            given.update(*load.pages)
        return [number for number, pages in reading if not pages.isdisjoint(given)]

    def is_waiting(self) -> bool:
        """For workers that end what they do in a later step, so that there had better be one."""
        return self.is_behind and bool(self.open)

    # ---- reports -------------------------------------------------------------------------------------
    def settle(self, report: Report) -> None:
        for number in report.failed:
            self.failed(number)
        for number, workers in report.taken.items():
            order = self.open[number]
            order.to_take -= workers
            if not order.to_take:
                self.taken(number, order)
        for number, workers in report.done.items():
            order = self.open[number]
            order.to_do -= workers
            if not order.to_do:
                self.done(number, order)

    def failed(self, number: int) -> None:
        """A load: offered again it would fail again.  A save: the next one begins at what is cached."""
        order = self.open[number]
        order.is_failed = True
        order.state.sent = 0
        order.state.due = max(order.state.due, order.end + 1)
        if not order.end:
            order.state.may_load = False

    def taken(self, number: int, order: Order) -> None:
        for pin in order.pins:
            pin.release()
        order.pins, order.pages = [], set()
        self.unsure.pop(number, None)
        if not order.end:
            del self.open[number]

    def done(self, number: int, order: Order) -> None:
        del self.open[number]
        if self.events and not order.is_failed:
            self.events.stored(order.state.request, order.first, order.end)

    # ---- the end of a request, of all ------------------------------------------------------------------
    def finished(self, request: Any) -> None:
        state = self.states.pop(request.request_id, None)
        if not state:
            return
        state.let_go()
        if self.spaces and len(state.keys()):
            state.hint = finished_word(state.fields, request)
            self.acquire(state)         # a use, with how it ended; unpinned at once
            self.look_ahead(state)
        elif state.is_held:             # never ran, or cached nothing
            self.client.hold_end(state.ticket)

    def look_ahead(self, state: State) -> None:
        """A tool's answer continues the session; one that is over leaves blocks that nobody wants."""
        if state.fields.get("tool"):
            self.hold(state, "tool")
        elif state.fields.get("over"):
            keys = state.keys()
            own = min(own_blocks(state.fields, self.block_tokens), len(keys))
            for _, ns in self.spaces:
                if own:
                    ns.session_closed(keys, own)

    def drop(self) -> bool:
        """Forget the namespaces' content: the weights have changed."""
        for state in self.states.values():
            state.let_go()
            state.sent, state.due = 0, 1
        try:
            for _, ns in self.spaces:
                ns.drop()
        except kvshm.Error:
            return False
        return True
