# SPDX-License-Identifier: Apache-2.0
"""hits.py - how long a prefix can be restored, by what the pools have of its pages

A pool has its pages from the first on, or only those of windows that end where a prefix may end: then
the prefixes that can be restored have gaps, and other ranks may have other gaps.
"""
from typing import Any, Callable, Dict, List, Sequence, Set, Tuple

from sglang.srt.mem_cache.hicache_storage import PoolHitPolicy, PoolName, PoolTransferResult

Verdict = Tuple[int, Set[int]]          # longest prefix of this pool, all of them


def leading(found: Sequence[bool]) -> Verdict:
    nr = list(found).index(False) if False in found else len(found)
    return nr, set(range(1, nr + 1))


def windows(found: Sequence[bool], width: int) -> Verdict:
    lengths, run = set(), 0
    for length, there in enumerate(found, 1):
        run = run + 1 if there else 0
        if run >= min(width, length):
            lengths.add(length)
    return max(lengths, default=0), lengths


def fold(kv_pages: int, transfers: Sequence[Any], present: Callable[[Any], List[bool]]) -> Any:
    """@present: of a pool, which of the first @kv_pages it has.  A pool whose rule is not known has no say."""
    hits: Dict[Any, int] = {PoolName.KV: kv_pages} if kv_pages else {}
    lengths = list(range(1, kv_pages + 1))
    for transfer in transfers:
        if not lengths:
            break
        if transfer.hit_policy == PoolHitPolicy.ALL_PAGES:
            longest, own = leading(present(transfer))
        elif transfer.hit_policy == PoolHitPolicy.TRAILING_PAGES:
            longest, own = windows(present(transfer), max(1, len(transfer.keys or ())))
        else:
            continue
        if longest:
            hits[transfer.name] = longest
        lengths = [length for length in lengths if length in own]
    return PoolTransferResult(lengths[-1] if lengths else 0, hits, lengths)
