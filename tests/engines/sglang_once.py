# SPDX-License-Identifier: Apache-2.0
"""One SGLang engine on the CPU in a process of its own, for test_sglang_engine.py.

usage: sglang_once.py '{"model": DIR, "socket": PATH, "ids": [...], "new": N, "runs": N}'

Prints `ANSWER {"tokens", "cached", "storage"}` for each run of the prompt, and waits for a line before the next, which
finds the engine's own caches empty.
"""
import json
import sys

PAGE_TOKENS = 64


def cache_options(socket):
    extra = {"backend_name": "kvshm", "module_path": "kvshm.sglang", "class_name": "KvshmHiCache", "interface_v1": 1,
             "hicache_storage_pass_prefix_keys": True, "kvshm": {"model_id": "tiny", "socket": socket}}
    return dict(enable_hierarchical_cache=True, hicache_ratio=2.0, hicache_mem_layout="page_first_direct",
                hicache_io_backend="direct", hicache_write_policy="write_through",
                hicache_storage_prefetch_policy="wait_complete", hicache_storage_backend="dynamic",
                hicache_storage_backend_extra_config=json.dumps(extra))


def main():
    import sglang

    job = json.loads(sys.argv[1])
    engine = sglang.Engine(model_path=job["model"], device="cpu", attention_backend="torch_native", random_seed=0,
                           page_size=PAGE_TOKENS, max_total_tokens=8192, disable_cuda_graph=True,
                           disable_overlap_schedule=True, **cache_options(job["socket"]))
    for _ in range(job["runs"]):
        sampling = {"max_new_tokens": job["new"], "temperature": 0, "ignore_eos": True}
        out = engine.generate(input_ids=[job["ids"]], sampling_params=sampling)[0]
        meta = out["meta_info"]
        storage = (meta.get("cached_tokens_details") or {}).get("storage", 0)
        print("ANSWER", json.dumps({"tokens": out["output_ids"], "cached": meta["cached_tokens"], "storage": storage}),
              flush=True)
        sys.stdin.readline()
        engine.flush_cache()
    engine.shutdown()


if __name__ == "__main__":
    main()
