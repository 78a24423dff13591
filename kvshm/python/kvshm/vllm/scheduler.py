# SPDX-License-Identifier: Apache-2.0
"""scheduler.py - the half in vLLM's scheduler: what to load, what to save, which pins to hold

A request's life here: match() pins what is cached, allocated() turns the pin into an order to load,
saves() adds what each step completes, settle() takes the workers' reports.  A pin that an order stands
on is held until each worker has imported it or committed behind it.

What a step computes from a load that fails is wrong, and other requests of the step may share its pages;
the workers report failures after the step only.  So nothing that stands on a load is saved before that
load is known to have come: such saves wait for a later step.

Each KV cache group of each worker has a namespace, and a hit is what all have, in whole units (hits.py).  Of layers
with a window only the blocks inside it are loaded, and of layers with a state the one at the hit's end.
"""
import itertools
import time
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

import kvshm

from .due import Due
from .groups import behind_window, until_gone
from .hints import Sessions, finished_word, given_fields, own_blocks, word
from .hits import Hits, Units
from .keys import Keys
from .orders import Load, Part, Report, Save, Space

Pins = Dict[int, kvshm.Pin]                 # by the place of the space

LOOK_S = 1.0
TICKETS = itertools.count(1)


class State:
    """What is known of a request."""

    __slots__ = ("request", "keys", "fields", "hint", "pins", "first", "end", "is_async", "sent", "due", "may_load",
                 "ticket", "is_held", "wake")

    def __init__(self, request: Any, session: Dict[str, Any]) -> None:
        self.request = request
        self.keys = Keys(request)
        self.fields = {**session, **given_fields(request)}
        self.hint = word(self.fields)
        self.pins: Pins = {}                # of the match, until it is loaded
        self.first = self.end = 0           # units of the match: that the engine has itself, all
        self.is_async = False               # how it is loaded
        self.sent = 0                       # units that are cached or on their way
        self.due = 1                        # units at which the next save is worth looking at
        self.may_load = True
        self.ticket = next(TICKETS)
        self.is_held = False
        self.wake = 0                       # when to look at it, 0: at the next admission

    def let_go(self) -> None:
        for pin in self.pins.values():
            pin.release()
        self.pins = {}


class Order:
    """One that not all workers have answered yet."""

    __slots__ = ("state", "pins", "first", "end", "to_take", "to_do", "is_failed", "pages")

    def __init__(self, state: State, pins: Pins, workers: int, first: int = 0, end: int = 0) -> None:
        self.state, self.pins = state, pins
        self.first, self.end = first, end   # of a save: its units, none of a state's
        self.to_take, self.to_do = workers, workers if end else 0
        self.is_failed = False
        self.pages: Set[int] = set()        # that workers may still read


class SchedulerHalf:
    def __init__(self, client: kvshm.Client, options: Any, units: Units, may_resume: bool, events: Any) -> None:
        self.client, self.options, self.units, self.events = client, options, units, events
        self.may_resume = may_resume        # behind a failed block of a load
        self.hits = Hits(client, units)
        self.groups: Dict[int, Space] = {}
        self.workers = 0
        self.unit_len = 0                   # bytes, of all workers together
        self.is_behind = False              # do workers read pages after the step?
        self.may_load = self.may_save = True
        self.states: Dict[str, State] = {}
        self.due = Due(self.states)
        self.loads: List[Load] = []         # of the step that is being made
        self.open: Dict[int, Order] = {}
        self.unsure: Dict[int, Set[int]] = {}   # pages of synchronous loads, until they are taken
        self.numbers = itertools.count(1)
        self.sessions = Sessions()
        self.hint = 0
        self.next_look = 0.0

    @property
    def spaces(self) -> List[Tuple[Space, kvshm.Namespace]]:
        return self.hits.spaces

    def attach(self, workers: Sequence[Iterable[Space]], is_behind: bool) -> None:
        """The workers have told what they keep."""
        self.is_behind = is_behind
        self.hits.attach(workers)
        self.groups = self.hits.groups()
        self.workers = len(workers)
        self.unit_len = sum(space.block_len * self.units.blocks(space) for space, _ in self.spaces)

    def go_without(self) -> None:
        self.hits.attach([])

    def add(self, request: Any) -> State:
        state = self.states[request.request_id] = State(request, self.sessions.fields(request))
        return state

    def queued(self, request: Any) -> None:
        """It waits: what is cached of its prompt had better stay until it runs, by whose match this ends."""
        state = self.add(request)
        if self.spaces and self.may_load:
            self.hold(state, "queued")

    def hold(self, state: State, why: str) -> None:
        for _, ns, keys in self.chains(state):
            state.is_held |= ns.hold(keys, why, ticket=state.ticket)

    def chains(self, state: State) -> Iterator[Tuple[Space, kvshm.Namespace, List[bytes]]]:
        """Where it has a chain, and the keys of that."""
        for space, ns in self.spaces:
            keys = [] if space.is_state else self.units.keys(space, state.keys())
            if keys:
                yield space, ns, keys

    # ---- match ---------------------------------------------------------------------------------------
    def tell_hint(self, state: State) -> None:
        if state.hint != self.hint:
            self.client.set_hint(state.hint)
            self.hint = state.hint

    def acquire(self, state: State, beyond: int = 0) -> Tuple[int, Pins]:
        """Pins of the longest prefix that all groups of all workers have."""
        self.tell_hint(state)
        most = (state.request.num_tokens - 1) // self.units.tokens      # a state is of no use behind the last token
        return self.hits.acquire(state.keys(), beyond, most)

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
        first = computed // self.units.tokens
        end, pins = self.acquire(state, first)
        if end <= first:
            return 0, False
        is_async = not self.may_resume or self.options.is_async((end - first) * self.unit_len)
        if not is_async:                # the step that loads must have a token to compute
            end = min(end, (request.num_tokens - 1) // self.units.tokens)
            if end <= first:
                return 0, False
        state.pins, state.first, state.end, state.is_async = pins, first, end, is_async
        return (end - first) * self.units.tokens, is_async

    def allocated(self, request: Any, pages: Sequence[List[int]], tokens: int) -> None:
        """The engine has given pages to a request, of each group, and takes @tokens of the match."""
        state = self.states.get(request.request_id) or self.add(request)
        if self.spaces and self.may_save:
            self.due.put(state, 0)      # it goes on from another place than before
        if not tokens:
            state.let_go()
            return
        self.loads.append(self.order_load(state, pages, state.first + tokens // self.units.tokens))

    def order_load(self, state: State, tables: Sequence[List[int]], end: int) -> Load:
        number, exports = next(self.numbers), {}
        pages: List[List[int]] = [[] for _ in tables]
        for group, space in self.groups.items():
            blocks = self.units.blocks(space)
            own = tables[group][state.first * blocks:end * blocks]
            pages[group] = own[behind_window(own):]
        for place, pin in state.pins.items():
            space = self.spaces[place][0]
            if space.is_state and end != state.end:
                continue                # it is no other place's
            try:
                first = 0 if space.is_state else end * self.units.blocks(space) - len(pages[space.group])
                exports[space.fingerprint] = pin.export(first=first)
            except (kvshm.Error, ValueError):   # less than it seemed: the worker has nothing to load
                pass
        self.open[number] = Order(state, state.pins, self.workers)
        if not state.is_async:
            self.unsure[number] = set(pages[0])
        nr = end - state.first
        state.pins = {}
        state.sent, state.due = max(state.sent, end), max(state.due, end + 1)
        return Load(number, state.request.request_id, state.is_async, nr, pages, exports)

    def take_loads(self) -> List[Load]:
        loads, self.loads = self.loads, []
        return loads

    # ---- save ----------------------------------------------------------------------------------------
    def saves(self, output: Any) -> List[Save]:
        """What the step completes and the cache does not have."""
        saves: List[Save] = []
        if not self.spaces or not self.may_save:
            return saves
        scheduled = output.num_scheduled_tokens
        for state in self.due.pass_step(output.total_num_scheduled_tokens - len(scheduled) + 1):
            save = self.look_at(state, scheduled.get(state.request.request_id, 0), output)
            if save:
                saves.append(save)
        if self.hits.states:
            saves.extend(self.state_saves(output.kv_connector_block_state.boundary_state_offloads))
        return saves

    def look_at(self, state: State, tokens: int, output: Any) -> Optional[Save]:
        computed, save = state.request.num_computed_tokens + tokens, None
        if tokens and computed // self.units.tokens >= state.due:
            save = self.order_save(state, computed, output)
        self.due.put(state, state.due * self.units.tokens - computed)
        return save

    def order_save(self, state: State, computed: int, output: Any) -> Optional[Save]:
        keys = state.keys()
        full = min(computed // self.units.tokens, len(keys) // self.units.hashes)
        if full < state.due:
            return None
        pages = output.kv_connector_block_state.get_block_ids(state.request.request_id)
        if any(not unsure.isdisjoint(pages[0]) for unsure in self.unsure.values()):
            return None
        self.tell_hint(state)
        matched, pins = self.hits.acquire_chains(keys)
        first = max(matched, state.sent)
        state.sent, state.due = max(first, full), max(first, full) + 1
        if first >= full or not pins:
            return None
        return self.order(state, self.parts(keys, pages, first, full), pins, first, full)

    def parts(self, keys: List[bytes], pages: Sequence[List[int]], first: int, full: int) -> Dict[int, Part]:
        """Of each group with a chain; those with blocks of one size share the keys."""
        packed: Dict[int, Tuple[bytes, Optional[bytes]]] = {}
        parts = {}
        for group, space in self.groups.items():
            if space.is_state:
                continue
            blocks = self.units.blocks(space)
            if blocks not in packed:
                packed[blocks] = (b"".join(self.units.keys(space, keys, first, full)),
                                  keys[first * self.units.hashes - 1] if first else None)
            parts[group] = Part(until_gone(pages[group][first * blocks:full * blocks]), *packed[blocks])
        return parts

    def state_saves(self, offers: Dict[str, List[Tuple[int, int, int]]]) -> Iterator[Save]:
        """The engine says by itself which page holds the state behind how many tokens when this step has ended."""
        for request_id, offered in offers.items():
            state = self.states.get(request_id)
            ends: Dict[int, Dict[int, int]] = {}
            for group, page, tokens in offered:
                ends.setdefault(tokens, {})[group] = page
            for tokens, pages in ends.items() if state else ():
                save = self.order_state(state, tokens, pages)
                if save:
                    yield save

    def order_state(self, state: State, tokens: int, pages: Dict[int, int]) -> Optional[Save]:
        end, rest = divmod(tokens, self.units.tokens)
        keys = state.keys()
        if rest or end * self.units.hashes > len(keys):
            return None
        self.tell_hint(state)
        if all(pins[0] for pins in self.hits.acquire_states(keys, [end])):
            return None
        key = keys[end * self.units.hashes - 1]
        return self.order(state, {group: Part([page], key, None) for group, page in pages.items()}, {}, end, end)

    def order(self, state: State, parts: Dict[int, Part], pins: Pins, first: int, end: int) -> Save:
        number = next(self.numbers)
        order = self.open[number] = Order(state, pins, self.workers, first, end)
        if self.is_behind:
            order.pages.update(*(part.pages for part in parts.values()))
        return Save(number, parts, state.hint)

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
        for pin in order.pins.values():
            pin.release()
        order.pins, order.pages = {}, set()
        self.unsure.pop(number, None)
        if not order.end:
            del self.open[number]

    def done(self, number: int, order: Order) -> None:
        del self.open[number]
        if self.events and not order.is_failed and order.first < order.end:
            hashes = self.units.hashes
            self.events.stored(order.state.request, order.first * hashes, order.end * hashes)

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
            for space, ns, keys in self.chains(state):
                own = min(own_blocks(state.fields, space.block_tokens), len(keys))
                if own:
                    ns.session_closed(keys, own)

    def drop(self) -> bool:
        """Forget the namespaces' content: the weights have changed."""
        for state in self.states.values():
            state.let_go()
            state.sent, state.due = 0, 1
            self.due.put(state, 0)
        try:
            for _, ns in self.spaces:
                ns.drop()
        except kvshm.Error:
            return False
        return True
