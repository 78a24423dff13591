# SPDX-License-Identifier: Apache-2.0
"""orders.py - what the two halves of the connector tell each other, pickled by vLLM"""
from collections import Counter
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Set, Tuple

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorHandshakeMetadata, KVConnectorMetadata, KVConnectorWorkerMetadata)


@dataclass(frozen=True)
class Space:
    """A namespace: one KV cache group's share in one worker; what both halves attach."""

    group: int
    fingerprint: bytes
    layout: bytes
    block_len: int
    block_tokens: int
    label: str
    is_state: bool                      # blocks are states, each alone, not a chain of keys and values


@dataclass(frozen=True)
class Spaces(KVConnectorHandshakeMetadata):
    """Of one worker."""

    spaces: Tuple[Space, ...]
    is_behind: bool                     # its saves read pages after the step that ordered them


@dataclass
class Load:
    number: int
    request: str
    is_async: bool
    nr: int                             # units of tokens
    pages: List[List[int]]              # of each group: of the last blocks of these units
    exports: Dict[bytes, bytes]         # by fingerprint; of a prefix of the pages, or none at all


@dataclass
class Part:
    """Of a save, one group's."""

    pages: List[int]                    # of the first of the blocks
    keys: bytes                         # packed, one for each block
    parent: Optional[bytes]


@dataclass
class Save:
    number: int
    parts: Dict[int, Part]              # by group
    hint: int


@dataclass
class Orders(KVConnectorMetadata):
    """One step's work for the workers."""

    loads: List[Load] = field(default_factory=list)
    saves: List[Save] = field(default_factory=list)
    taken_away: List[int] = field(default_factory=list)     # open saves, pages of which the step gives to others


@dataclass
class Report(KVConnectorWorkerMetadata):
    """What became of orders, by their numbers: how many workers say so.

    A load is taken once; a save is taken when it stands on pins of the worker's own, and later done.
    """

    taken: "Counter[int]" = field(default_factory=Counter)
    done: "Counter[int]" = field(default_factory=Counter)
    failed: Set[int] = field(default_factory=set)       # by one worker at least

    def __bool__(self) -> bool:
        return bool(self.taken or self.done or self.failed)

    def aggregate(self, other: "Report") -> "Report":
        return Report(self.taken + other.taken, self.done + other.done, self.failed | other.failed)
