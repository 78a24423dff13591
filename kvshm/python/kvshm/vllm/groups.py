# SPDX-License-Identifier: Apache-2.0
"""groups.py - the KV cache groups of an engine: layers that share a block table, each with a namespace of its own

A model whose layers all look at the whole context has one.  In others some layers look at a window only: vLLM takes
the pages behind it away from the request and has page 0, which nobody reads, in their place.  Others again carry a
state from token to token (Mamba, linear attention, short convolutions): a page holds the state behind its last token,
and only the pages in which a step has ended hold one at all.
"""
from typing import Any, List, Optional

from vllm.v1.kv_cache_interface import iter_layer_specs

WHOLE = "FullAttentionSpec", "MLAAttentionSpec"
WINDOWED = "SlidingWindowSpec", "SlidingWindowMLASpec", "ChunkedLocalAttentionSpec"
STATE = "MambaSpec"
NO_PAGE = 0


def kinds_of(group: Any) -> List[str]:
    return sorted({type(spec).__name__ for spec in iter_layer_specs(group.kv_cache_spec)})


def is_state(spec: Any) -> bool:
    return any(type(layer).__name__ == STATE for layer in iter_layer_specs(spec))


def why_not(kv_cache_config: Any, hash_tokens: int) -> Optional[str]:
    """What of these groups cannot be served, or None."""
    for group in kv_cache_config.kv_cache_groups:
        spec = group.kv_cache_spec
        for kind in kinds_of(group):
            if kind not in (*WHOLE, *WINDOWED, STATE):
                return f"layers of {kind}"      # what a block holds is not the tokens' keys and values alone
        if not (group.enable_kv_transfer and spec.prefix_cacheable):
            return "layers that are not cached"
        reason = why_no_states(spec) if is_state(spec) else None
        if reason:
            return reason
        if spec.block_size % hash_tokens:
            return f"blocks of {spec.block_size} tokens and hashes of {hash_tokens}"
    return None


def why_no_states(spec: Any) -> Optional[str]:
    for layer in iter_layer_specs(spec):
        if layer.mamba_cache_mode != "align":   # then there is one page for all tokens, and no state but the last
            return "states of layers (Mamba) and without its own prefix caching"
        if layer.num_speculative_blocks:        # a state may be ahead of the tokens that are accepted
            return "states of layers (Mamba) and speculative decoding"
    return None


def device_block_tokens(kv_cache_config: Any) -> int:
    """The one size of all blocks, which pages on a device must have; none of them may be a state."""
    specs = [group.kv_cache_spec for group in kv_cache_config.kv_cache_groups]
    if any(is_state(spec) for spec in specs):
        raise ValueError("cannot serve layers with a state on a device")
    sizes = sorted({int(spec.block_size) for spec in specs})
    if len(sizes) > 1:
        raise ValueError(f"cannot serve blocks of {sizes[0]} beside {sizes[-1]} tokens on a device")
    return sizes[0]


def may_resume(kv_cache_config: Any) -> bool:
    """Can a request whose load failed at a block go on from there?  Where pages behind a window were never loaded it
    cannot, and of several groups vLLM takes a failure as one of the whole request only."""
    groups = kv_cache_config.kv_cache_groups
    return len(groups) == 1 and all(kind in WHOLE for kind in kinds_of(groups[0]))


def behind_window(pages: List[int]) -> int:
    """How many of them, from the first on, nobody will read."""
    return next((i for i, page in enumerate(pages) if page != NO_PAGE), len(pages))


def until_gone(pages: List[int]) -> List[int]:
    """As many, from the first on, as the request still has."""
    return pages[:pages.index(NO_PAGE)] if NO_PAGE in pages else pages
