# SPDX-License-Identifier: Apache-2.0
"""hits.py - what all KV cache groups of all workers have of a prompt

Groups may cut the same tokens into blocks of different sizes, so hits go in units: as many tokens as each group has
whole blocks for.  A group of keys and values holds a chain, a block for each of its cuts.  Of a group of states
(Mamba) a hit needs one block alone, the state at the hit's end, and the engine has a state only where a step of its
ended: they lie loose, each under the key of the tokens before it, and the last one within what the chains have is
looked for.
"""
from dataclasses import dataclass
from typing import Dict, Iterable, List, Sequence, Tuple

import kvshm

from .orders import Space

PROBE = 16                              # states that are looked for in one call, at most


@dataclass(frozen=True)
class Units:
    """How tokens are counted."""

    tokens: int                         # of a unit
    hash_tokens: int                    # of a key: a divisor of each group's block

    @property
    def hashes(self) -> int:
        return self.tokens // self.hash_tokens

    def blocks(self, space: Space) -> int:
        """Of a unit."""
        return self.tokens // space.block_tokens

    def keys(self, space: Space, keys: List[bytes], first: int = 0, end: int = -1) -> List[bytes]:
        """Of the group's blocks in the units from @first on; all blocks if no @end is given."""
        step = space.block_tokens // self.hash_tokens
        if step == 1 and end < 0:
            return keys
        return keys[first * self.hashes + step - 1:len(keys) if end < 0 else end * self.hashes:step]


class Hits:
    """One thread.  Its pins are the caller's."""

    def __init__(self, client: kvshm.Client, units: Units) -> None:
        self.client, self.units = client, units
        self.spaces: List[Tuple[Space, kvshm.Namespace]] = []
        self.chains: Dict[int, List[int]] = {}      # of @spaces, by the size of their blocks
        self.states: List[int] = []

    def attach(self, workers: Iterable[Iterable[Space]]) -> None:
        self.spaces = [(space, self.client.attach_ns(space.fingerprint, space.layout, space.block_len,
                                                     space.block_tokens, space.label))
                       for spaces in workers for space in spaces]
        self.chains, self.states = {}, []
        for i, (space, _) in enumerate(self.spaces):
            of_kind = self.states if space.is_state else self.chains.setdefault(space.block_tokens, [])
            of_kind.append(i)

    def groups(self) -> Dict[int, Space]:
        """One space of each group, by the group's number."""
        return {space.group: space for space, _ in self.spaces}

    def acquire_chains(self, keys: List[bytes]) -> Tuple[int, Dict[int, kvshm.Pin]]:
        """Units that all chains have, and a pin of each, by its place in @spaces."""
        units, held = len(keys) // self.units.hashes, {}
        for places in self.chains.values():
            space = self.spaces[places[0]][0]
            own = self.units.keys(space, keys)
            if len(places) == 1:
                pins = [self.spaces[places[0]][1].acquire(own)]
            else:
                pins = kvshm.acquire_group([(self.spaces[i][1], own) for i in places])
            held.update(zip(places, pins))
            units = min(units, pins[0].matched // self.units.blocks(space))
        return units, held

    def acquire(self, keys: List[bytes], beyond: int, most: int) -> Tuple[int, Dict[int, kvshm.Pin]]:
        """Units of the longest prefix that can be loaded, of at most @most; nothing is of use up to @beyond."""
        units, held = self.acquire_chains(keys)
        if not self.states:
            return units, held
        top, nr = min(units, most), 1
        while top > beyond:
            low = max(beyond, top - nr)
            found = self.acquire_states(keys, range(low + 1, top + 1))
            for i in reversed(range(top - low)):
                if all(pins[i] for pins in found):
                    held.update((place, pins[i]) for place, pins in zip(self.states, found))
                    return low + i + 1, held
            top, nr = low, min(2 * nr, PROBE)
        return 0, {}

    def acquire_states(self, keys: List[bytes], ends: Sequence[int]) -> List[List[kvshm.Pin]]:
        """Of each group of states those at the @ends of units; false where there is none."""
        names = [keys[end * self.units.hashes - 1] for end in ends]
        return [self.spaces[i][1].acquire_loose(names) for i in self.states]
