#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_sglang - kvshm as a storage backend of SGLang's HiCache beside SGLang's own files on tmpfs

  KVSHM_BUILD=build tests/bench/bench_sglang.py [--json] [--pages N] [--layers N] [--rounds N]

The calls that SGLang's threads make for one batch of pages of a page_first host pool: query, load, backup.
Files go the way that SGLang takes for them, through a page of memory; in turn with kvshm, --rounds times,
each batch with keys of its own; bytes are compared after each load.  Needs utils/dist/engines/sglang.sh.
Exit status: 0 measured, 77 no SGLang here.
"""
import argparse
import json
import logging
import os
import shutil
import statistics
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "engines"))
from sglanglib import PAGE_TOKENS, Pool, attach, create, enter, hashes, storage_config  # noqa: E402

enter()

import torch  # noqa: E402
import packagelib  # noqa: E402, F401: the built package before an installed one
from daemonlib import Daemon  # noqa: E402
from sglang.srt.managers.cache_controller import HiCacheController, PrefetchOperation  # noqa: E402
from sglang.srt.mem_cache.hicache_storage import HiCacheFile, HiCacheStorageExtraInfo  # noqa: E402


def controller(backend, pool, is_zero_copy):
    """As much of SGLang's controller as its calls for a batch need."""
    c = object.__new__(HiCacheController)
    c.storage_backend, c.storage_host_pool, c.page_size = backend, pool, PAGE_TOKENS
    c.page_get_func = c._page_get_zero_copy if is_zero_copy else c._generic_page_get
    c.page_set_func = c._page_set_zero_copy if is_zero_copy else c._generic_page_set
    return c


def timed(samples, what, call):
    start = time.perf_counter()
    ret = call()
    samples[what].append((time.perf_counter() - start) * 1e3)
    return ret


def batch(c, pool, keys, samples):
    """One batch stored, asked for, and loaded into other pages."""
    nr, extra = len(keys), HiCacheStorageExtraInfo(prefix_keys=[])
    pool.fill(keys, range(nr))
    operation = PrefetchOperation("bench", [])
    timed(samples, "miss", lambda: c.storage_backend.batch_exists(keys, extra))
    assert timed(samples, "backup", lambda: c.page_set_func(keys, pool.indices(range(nr)), extra))
    assert timed(samples, "query", lambda: c.storage_backend.batch_exists(keys, extra)) == nr
    loaded = timed(samples, "load", lambda: c.page_get_func(operation, keys, pool.indices(range(nr, 2 * nr)), extra))
    assert loaded == nr and all(pool.holds(keys, range(nr, 2 * nr)))


def run(options, folder):
    pool = Pool(pages=2 * options.pages, layers=options.layers)
    # nothing is evicted
    daemon = Daemon("--size", f"{max(64, 2 * (options.rounds + 1) * options.pages * pool.page_len >> 20)}M",
                    "--set", "clients.pin_quota=90%")
    try:
        files = HiCacheFile(storage_config(), folder)
        attach(files, pool, ())
        backends = {"kvshm": controller(create(pool, daemon.socket), pool, True), "file": controller(files, pool, False)}
        samples = {name: {what: [] for what in ("backup", "query", "load", "miss")} for name in backends}
        for turn in range(options.rounds + 1):
            for name, c in backends.items():
                batch(c, pool, hashes(turn, options.pages), samples[name])
            files.clear()
    finally:
        daemon.kill()
        for name in (daemon.dir, daemon.memory):
            shutil.rmtree(name, ignore_errors=True)
    return {"page_bytes": pool.page_len,                # the first turn is to warm up
            **{f"{name}_{what}_p50_ms": round(statistics.median(values[1:]), 4)
               for name, found in samples.items() for what, values in found.items()}}


def main():
    parser = argparse.ArgumentParser(description="kvshm as a storage backend of HiCache beside SGLang's own files")
    parser.add_argument("--pages", type=int, default=128, help="of a batch; SGLang's are of 128")
    parser.add_argument("--layers", type=int, default=16, help="8 KiB a page each")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)            # several spin for one that has lost its core
    logging.getLogger("sglang").setLevel(logging.ERROR)
    folder = tempfile.mkdtemp(prefix="kvshm-bench.", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        fields = {"schema": "kvshm.bench_sglang/1", "pages": options.pages, **run(options, folder)}
    finally:
        shutil.rmtree(folder)
    print(json.dumps(fields) if options.json else "\n".join(f"{k:<24} {v}" for k, v in fields.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
