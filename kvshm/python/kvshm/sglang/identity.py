# SPDX-License-Identifier: Apache-2.0
"""identity.py - what makes pages of two engines interchangeable, as the fingerprint of a namespace

SGLang's page hashes cover tokens, LoRA adapter and salt, but no model: whatever else changes what a page
holds stands here.  A fact too many costs a miss, one too few gives wrong tokens.
"""
import os
from typing import Any, List, Optional, Sequence

import sglang
from sglang.srt.mem_cache.hicache_storage import PoolName
from sglang.srt.mem_cache.pool_host.mha import MHATokenToKVPoolHost

from ..facts import digest, files_digest

# what of a pool may change the meaning of a page of the same length; None where a pool has no such thing
POOL_FACTS = ("layout", "dtype", "page_size", "start_layer", "end_layer", "layer_num", "head_num", "head_dim",
              "v_head_dim", "kv_cache_dim", "storage_format_tag")


def weights(model_name: Optional[str], model_id: Optional[str]) -> Any:
    if model_id:
        return model_id
    if model_name and os.path.isdir(model_name):
        files = files_digest(model_name)
        if files:
            return files
    raise ValueError(f"kvshm: extra config: \"kvshm\": {{\"model_id\": ...}} is wanted: {model_name!r} is no folder of "
                     "weights here; any text that names model, revision and quantization")


def is_shared(config: Any, pool: Any, name: str) -> bool:
    """Have all tensor-parallel ranks the same bytes?  Of an MLA model all but those that are sharded all the same."""
    return bool(config.is_mla_model) and name != PoolName.MAMBA and not isinstance(pool, MHATokenToKVPoolHost)


def rank_facts(config: Any, shared: bool) -> List[Any]:
    return [None if shared else [config.tp_rank, config.tp_size], [config.pp_rank, config.pp_size],
            [config.attn_cp_rank, config.attn_cp_size], [config.dcp_rank, config.dcp_size]]


def layout_of(pool: Any, name: str, lengths: Sequence[int]) -> bytes:
    """The order of bytes inside a page; @lengths: of its runs."""
    return digest({"kind": "kvshm-sglang/1", "sglang": sglang.__version__, "pool": [name, type(pool).__name__],
                   "runs": list(lengths), "facts": [str(getattr(pool, fact, None)) for fact in POOL_FACTS]})


def fingerprint_of(config: Any, pool: Any, name: str, layout: bytes, model_id: Optional[str]) -> bytes:
    return digest({"layout": layout.hex(), "weights": weights(config.model_name, model_id),
                   "rank": rank_facts(config, is_shared(config, pool, name))})
