# SPDX-License-Identifier: Apache-2.0
"""identity.py - what makes KV bytes of two engines interchangeable, as the fingerprint of a namespace

vLLM's block hashes cover tokens, LoRA name, images and salt, but no model: whatever else changes what a
block holds stands here.  A fact too many costs a miss, one too few gives wrong tokens.
"""
import os
import platform
from typing import Any, Dict, List, Optional, Sequence

from vllm.v1.kv_cache_interface import iter_layer_specs

from ..facts import digest, files_digest
from ..pieces import describe
from .groups import is_state
from .orders import Space


def model_facts(model: Any) -> Any:
    """The weights: of a hub's snapshot its commit, else what the files hold."""
    commit = getattr(model.hf_config, "_commit_hash", None)
    if commit:
        return ["commit", commit]
    files = files_digest(model.model) if os.path.exists(model.model) else None
    return files or [os.path.realpath(model.model), model.revision]


def config_facts(config: Any) -> Dict[str, Any]:
    """The effective configuration, overrides included, without names of places and versions."""
    facts = dict(config.to_dict())
    for name in ("_name_or_path", "transformers_version", "name_or_path"):
        facts.pop(name, None)
    return facts


def isa(vllm_config: Any, head_size: Optional[int]) -> Any:
    """On CPUs the kernel's instruction set decides the order of bytes inside a page."""
    import torch

    cpu = torch.cpu
    facts = [platform.machine(), cpu._is_amx_tile_supported(), cpu._is_avx512_supported()]
    try:
        from vllm.v1.attention.backends.cpu_attn import _get_attn_isa
    except ImportError:         # another release: the facts it is chosen by
        return facts
    return _get_attn_isa(vllm_config.model_config.dtype, vllm_config.cache_config.block_size, head_size,
                         vllm_config.cache_config.cache_dtype)


def state_facts(spec: Any) -> Dict[str, Any]:
    """Of a group of states, whose tensors are bytes: what lies in them.  Else nothing."""
    if not is_state(spec):
        return {}
    return {"states": [[str(layer.mamba_type), str(layer.shapes), [str(dtype) for dtype in layer.dtypes]]
                       for layer in iter_layer_specs(spec)]}


def layout_facts(vllm_config: Any, kv_cache_config: Any, group: int, kv_caches: Dict[str, Any],
                 order: Sequence[int]) -> Dict[str, Any]:
    import vllm

    device = next(iter(kv_caches.values())).device.type
    spec = kv_cache_config.kv_cache_groups[group].kv_cache_spec
    return {
        "tensors": describe(kv_caches, kv_cache_config.num_blocks),
        "order": list(order),
        "spec": type(spec).__name__,
        "device": device,
        "isa": isa(vllm_config, getattr(spec, "head_size", None)) if device == "cpu" else None,
        # the order inside a page is the backend's own affair and may change with a release
        "vllm": vllm.__version__,
        **state_facts(spec),
    }


def rank_facts(parallel: Any) -> List[int]:
    rank = parallel.rank % (parallel.tensor_parallel_size * parallel.pipeline_parallel_size)
    return [parallel.tensor_parallel_size, parallel.pipeline_parallel_size, rank]


def space_of(vllm_config: Any, kv_cache_config: Any, group: int, kv_caches: Dict[str, Any], block_len: int,
             model_id: Optional[str], order: Sequence[int] = ()) -> Space:
    """The namespace of a KV cache group, whose layers' tensors these are, in this worker; @order: Box.order()."""
    model, cache = vllm_config.model_config, vllm_config.cache_config
    speculative = getattr(vllm_config, "speculative_config", None)
    draft = getattr(speculative, "draft_model_config", None)
    spec = kv_cache_config.kv_cache_groups[group].kv_cache_spec
    layout = digest(layout_facts(vllm_config, kv_cache_config, group, kv_caches, order))
    facts = {
        "kind": "kvshm-vllm/1",
        "layout": layout.hex(),
        "weights": model_id or model_facts(model),
        "config": config_facts(model.hf_config),
        "quantization": model.quantization,
        "dtype": [str(model.dtype), str(cache.cache_dtype)],
        "hash": cache.prefix_caching_hash_algo,
        "block_tokens": spec.block_size,
        "rank": rank_facts(vllm_config.parallel_config),
        "draft": draft and [model_facts(draft), config_facts(draft.hf_config)],
    }
    name = os.path.basename(os.path.normpath(model.model))
    label = f"vllm {name}" if len(kv_cache_config.kv_cache_groups) == 1 else f"vllm {group} {name}"
    return Space(group, digest(facts), layout, block_len, spec.block_size, label[:31], is_state(spec))
