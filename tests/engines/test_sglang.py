#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The installed SGLang's HiCache with kvshm as its storage: its factory, hashes, controller and fault injector."""
import logging
import os
import random
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sglanglib import (  # noqa: E402
    PAGE_TOKENS, Pool, attach, create, enter, hashes, own_pool, storage_config)

enter()

import torch  # noqa: E402
from packagelib import WithDaemon, kvshm, until  # noqa: E402
from sglang.srt.environ import envs  # noqa: E402
from sglang.srt.managers.cache_controller import (  # noqa: E402
    HiCacheController, PrefetchOperation, StorageOperation)
from sglang.srt.mem_cache.hicache_storage import (  # noqa: E402
    HiCacheFile, HiCacheStorageExtraInfo, HiCacheStorageFailureInjector, PoolHitPolicy, PoolTransfer)
from sglang.srt.mem_cache.pool_host.mha import MHATokenToKVPoolHost  # noqa: E402
from kvshm.sglang.hits import fold  # noqa: E402

logging.getLogger("sglang").setLevel(logging.CRITICAL)
LOG = "sglang.srt.kvshm"
MAMBA, INDEXER = "mamba", "indexer"


def after(keys):
    return HiCacheStorageExtraInfo(prefix_keys=keys)


class WithBackend(WithDaemon):
    options = ("--size", "128M")

    def setUp(self):
        super().setUp()
        self.pool = Pool()
        self.backend = self.make(self.pool)

    def make(self, pool=None, **other):
        backend = create(pool or Pool(), self.daemon.socket, **other)
        self.addCleanup(backend.close)
        return backend

    def store(self, keys, before=(), backend=None, pool=None):
        """Fill pages 0, 1, ... and store them.  Return: how many were kept, from the first on."""
        backend, pool = backend or self.backend, pool or self.pool
        pool.fill(keys, range(len(keys)))
        kept = backend.batch_set_v1(keys, pool.indices(range(len(keys))), after(list(before)))
        self.assertEqual(len(kept), len(keys))
        self.assertEqual(kept, sorted(kept, reverse=True))
        return sum(kept)

    def load(self, keys, backend=None, pool=None):
        """Into cleared pages; what is said to be loaded must be right, and nothing else may have changed."""
        backend, pool = backend or self.backend, pool or self.pool
        pool.kv_buffer.zero_()
        pages = [7 * i % 32 for i in range(len(keys))]          # no page twice, and in no order
        loaded = backend.batch_get_v1(keys, pool.indices(pages))
        self.assertEqual(pool.holds(keys, pages), loaded)
        others = [p for p in range(32) if p not in pages[:sum(loaded)]]
        self.assertEqual({pool.bytes_of(p) for p in others} - {bytes(pool.page_len)}, set())
        return loaded


class OnePool(WithBackend):
    def test_another_engine_finds_the_pages_with_their_bytes(self):
        keys, pool = hashes(1, 12), Pool()
        self.assertEqual(self.backend.batch_exists(keys), 0)
        self.assertEqual(self.store(keys[:9]), 9)
        other = self.make(pool)
        self.assertEqual(other.batch_exists(keys), 9)
        self.assertEqual(self.load(keys, other, pool), [True] * 9 + [False] * 3)

    def test_what_is_there_already_counts_as_kept_and_is_not_stored_again(self):
        keys = hashes(1, 12)
        self.assertEqual(self.store(keys[:5]), 5)
        self.assertEqual(self.store(keys), 12)
        self.assertEqual(self.backend.writer.stats()["commit_blocks"], 12)
        self.assertEqual(self.load(keys), [True] * 12)

    def test_pages_after_those_that_the_engine_has_itself(self):
        keys = hashes(1, 12)
        self.store(keys)
        for first in (1, 5, 11):
            self.assertEqual(self.backend.batch_exists(keys[first:], after(keys[:first])), 12 - first)
            self.assertEqual(self.load(keys[first:]), [True] * (12 - first))

    def test_batches_of_one_prompt_are_one_chain(self):
        keys = hashes(1, 12)
        self.assertEqual(self.store(keys[:4]) + self.store(keys[4:8], before=keys[:4]), 8)
        self.assertEqual(self.store(keys[6:], before=keys[:6]), 6)      # two of them are there
        packed = b"".join(map(bytes.fromhex, keys))
        with self.backend.kv.reader.acquire(packed) as pin:
            self.assertEqual((pin.matched, len(pin)), (12, 12))

    def test_more_pages_than_one_pin_takes(self):
        pool = Pool(pages=300, layers=1)
        backend, keys = self.make(pool), hashes(1, 290)
        pool.fill(keys, range(290))
        self.assertEqual(backend.batch_set_v1(keys, pool.indices(range(290)), after([])), [True] * 290)
        pool.kv_buffer.zero_()
        self.assertEqual(backend.batch_exists(keys), 290)
        self.assertEqual(backend.batch_get_v1(keys, pool.indices(range(290))), [True] * 290)
        self.assertTrue(all(pool.holds(keys, range(290))))

    def test_a_block_that_is_no_page_ends_the_load(self):
        keys, store = hashes(1, 4), self.backend.kv
        self.store(keys[:2])
        parent, wrong = bytes.fromhex(keys[1]), bytes.fromhex(keys[2])
        self.assertTrue(store.writer.put([wrong], [b"short"], parent, timeout=5.0))
        self.backend.writer.sync()
        self.assertEqual(self.load(keys), [True] * 2 + [False] * 2)

    def test_a_chain_with_a_seam_is_found_as_a_whole(self):
        keys = hashes(1, 12)
        self.assertEqual(self.store(keys[4:8], before=keys[:4]), 4)     # the pages before were never stored
        self.assertEqual(self.backend.batch_exists(keys), 0)
        self.assertEqual(self.backend.batch_exists(keys[4:]), 4)
        self.assertEqual(self.store(keys[:4]), 4)
        self.assertEqual(self.store(keys[8:], before=keys[:8]), 4)
        self.assertEqual(self.backend.batch_exists(keys), 12)
        self.assertEqual(self.load(keys), [True] * 12)

    def test_without_prefix_keys_batches_are_found_all_the_same(self):
        keys = hashes(1, 12)
        for batch in (keys[:6], keys[6:]):
            self.pool.fill(batch, range(6))
            self.assertEqual(self.backend.batch_set_v1(batch, self.pool.indices(range(6))), [True] * 6)
        self.assertEqual(self.backend.batch_exists(keys), 12)
        self.assertEqual(self.load(keys), [True] * 12)

    def test_what_is_lost_between_exists_and_get_is_a_miss(self):
        keys = hashes(1, 8)
        self.store(keys)
        self.assertEqual(self.backend.batch_exists(keys), 8)
        self.assertTrue(self.make().clear())
        self.assertEqual(self.load(keys), [False] * 8)
        self.assertEqual(self.store(keys[:2]), 2)
        self.assertEqual(self.load(keys), [True] * 2 + [False] * 6)

    def test_pages_behind_one_that_was_dropped_are_not_kept(self):
        store = self.backend.kv
        store.writer = mock.Mock()
        answers = [kvshm.Completion(numbers) for numbers in ((7, 9, 0, 0, 0), (2, 4, 0, 0, 0), (1, 2, 1, 1, 0))]
        store.writer.client.poll.side_effect = [answers[:2], answers[2:]]
        self.assertEqual(store.answers([(1, 4), (2, 4)]), 3)
        store.writer.client.poll.side_effect = [answers[1:2], []]
        self.assertEqual(store.answers([(2, 4), (3, 4)]), 4)

    def test_runs_that_do_not_fit_the_keys_are_not_copied(self):
        keys = hashes(1, 4)
        with self.assertLogs(LOG, "WARNING") as log:
            self.assertEqual(self.backend.batch_set_v1(keys, self.pool.indices(range(3))), [False] * 4)
            self.store(keys)
            self.assertEqual(self.backend.batch_get_v1(keys, self.pool.indices(range(3))), [False] * 4)
        self.assertEqual(len(log.output), 2)

    def test_pages_in_tensors(self):
        keys, pages = hashes(1, 3), [torch.randn(self.pool.page_len // 2).to(torch.bfloat16) for _ in range(3)]
        self.assertTrue(self.backend.batch_set(keys[:2], pages[:2]))
        self.assertTrue(self.backend.set(keys[2], pages[2]))
        out = [torch.zeros_like(page) for page in pages]
        self.assertTrue(all(map(torch.equal, self.backend.batch_get(keys, out), pages)))
        self.assertTrue(self.backend.exists(keys[2]))
        self.assertIsNone(self.backend.get(hashes(2, 1)[0], out[0]))

    def test_metrics_count_what_was_copied(self):
        keys = hashes(1, 6)
        self.store(keys)
        self.load(keys[:4])
        stats = self.backend.get_stats()
        self.assertEqual((stats.backup_pgs, stats.prefetch_pgs), ([6], [4]))
        self.assertTrue(stats.backup_bandwidth[0] > 0 and stats.prefetch_bandwidth[0] > 0)
        self.assertEqual(self.backend.get_stats().backup_pgs, [])

    def test_a_client_that_is_not_trusted(self):
        opener = kvshm.open
        with mock.patch.object(kvshm, "open", lambda *args, **kw: opener(*args, untrusted=True, **kw)):
            backend = self.make(self.pool)
        keys = hashes(1, 20)
        self.assertEqual(self.store(keys, backend=backend), 20)
        self.assertFalse(backend.writer.stats()["is_trusted"])
        self.assertEqual(self.load(keys), [True] * 20)


class OwnPool(WithBackend):
    def test_sglangs_own_host_pool_in_each_layout(self):
        keys, runs = hashes(1, 6), {"page_first": 2, "page_first_direct": 2, "page_head": 2, "layer_first": 8}
        for layout, nr_runs in runs.items():
            with self.subTest(layout=layout):
                pool = own_pool(layout)
                backend = self.make(pool)
                self.assertEqual(backend.batch_exists(keys), 0)         # another layout's pages are others
                pages = [torch.randn(pool.get_dummy_flat_data_page().shape).to(pool.dtype) for _ in keys]
                for i, page in enumerate(pages):
                    pool.set_from_flat_data_page(i * PAGE_TOKENS, page)
                at = [torch.arange(i * PAGE_TOKENS, (i + 1) * PAGE_TOKENS) for i in (5, 4, 3, 2, 1, 0, 9, 31, 20, 8, 7, 6)]
                self.assertEqual(len(pool.get_page_buffer_meta(at[0])[0]), nr_runs)
                self.assertEqual(backend.batch_set_v1(keys, torch.cat(at[5::-1]), after([])), [True] * 6)
                pool.kv_buffer.zero_()
                self.assertEqual(backend.batch_get_v1(keys, torch.cat(at[6:])), [True] * 6)
                for place, page in zip(at[6:], pages):
                    self.assertTrue(torch.equal(pool.get_data_page(int(place[0])), page.flatten()))


class SmallQuota(WithBackend):
    options = ("--size", "128M", "--set", "clients.pin_quota=100K")        # of 3 pages of 32 KiB

    def test_a_prefix_is_found_as_far_as_it_may_be_pinned(self):
        keys = hashes(1, 12)
        self.assertEqual(self.store(keys), 12)
        self.assertEqual(self.backend.batch_exists(keys), 3)
        self.assertEqual(self.load(keys), [True] * 3 + [False] * 9)


class Identity(WithBackend):
    def exists(self, pool=None, **other):
        return self.make(pool, **other).batch_exists(self.keys)

    def setUp(self):
        super().setUp()
        self.keys = hashes(1, 3)
        self.store(self.keys)

    def test_engines_that_differ_do_not_share(self):
        self.assertEqual(self.exists(), 3)
        page_head = Pool()
        page_head.layout = "page_head"
        for pool in (Pool(dtype="float16"), Pool(layers=2, heads=4), Pool(page_size=8, layers=8), page_head, Pool(dim=32)):
            self.assertEqual(self.exists(pool), 0)
        for other in ({"tp_size": 2}, {"pp_size": 2}, {"attn_cp_size": 2}, {"kvshm": {"model_id": "other"}}):
            self.assertEqual(self.exists(**other), 0)
        self.assertEqual(self.exists(model_name="another label"), 3)

    def test_ranks_have_pages_of_their_own(self):
        for rank in range(2):
            backend = self.make(self.pool, tp_size=2, tp_rank=rank)
            self.assertEqual(backend.batch_exists(self.keys), 0)
            self.assertEqual(self.store(self.keys[:rank + 1], backend=backend), rank + 1)
            self.assertEqual(backend.batch_exists(self.keys), rank + 1)

    def test_ranks_of_an_mla_model_share_and_one_of_them_stores(self):
        pools = [Pool(halves=1), Pool(halves=1)]
        ranks = [self.make(pool, tp_size=2, tp_rank=rank, is_mla_model=True, sidecars=[(MAMBA, Pool())])
                 for rank, pool in enumerate(pools)]
        self.assertEqual(self.store(self.keys, backend=ranks[1], pool=pools[1]), 3)     # says so, and leaves it to rank 0
        self.assertEqual(ranks[1].batch_exists(self.keys), 0)
        self.assertEqual(self.store(self.keys, backend=ranks[0], pool=pools[0]), 3)
        self.assertEqual(self.load(self.keys, ranks[1], pools[1]), [True] * 3)
        state = PoolTransfer(name=MAMBA, host_indices=Pool().indices([0]), keys=self.keys[:1])
        self.assertEqual(ranks[0].batch_set_v2([state]), {MAMBA: [True]})
        self.assertEqual([rank.batch_get_v2([state]) for rank in ranks], [{MAMBA: [True]}, {MAMBA: [False]}])

    def test_a_sharded_pool_of_an_mla_model_is_not_shared(self):
        class Draft(Pool, MHATokenToKVPoolHost):
            __init__ = Pool.__init__
            __abstractmethods__ = frozenset()
        ranks = [self.make(Pool(halves=1), tp_size=2, tp_rank=rank, is_mla_model=True, sidecars=[("draft", Draft())])
                 for rank in range(2)]
        draft = PoolTransfer(name="draft", host_indices=Pool().indices([0]), keys=self.keys[:1])
        self.assertEqual(ranks[0].batch_set_v2([draft]), {"draft": [True]})
        self.assertEqual(ranks[1].batch_get_v2([draft]), {"draft": [False]})

    def test_weights_are_named_or_looked_at(self):
        with self.assertRaisesRegex(ValueError, "model_id"):
            create(Pool(), self.daemon.socket, kvshm={"model_id": None})
        with self.assertRaisesRegex(ValueError, "model_id.*wanted"):
            attach_without_name(self, "org/model")
        with tempfile.TemporaryDirectory() as folder:
            self.assertRaises(ValueError, attach_without_name, self, folder)
            with open(os.path.join(folder, "model.safetensors"), "wb") as f:
                f.write(b"weights")
            first = attach_without_name(self, folder)
            self.assertEqual(self.store(self.keys, backend=first), 3)
            self.assertEqual(attach_without_name(self, folder).batch_exists(self.keys), 3)
            with open(os.path.join(folder, "model.safetensors"), "ab") as f:
                f.write(b"!")
            self.assertEqual(attach_without_name(self, folder).batch_exists(self.keys), 0)

    def test_an_option_that_is_none_is_refused(self):
        with self.assertRaisesRegex(ValueError, "sockets"):
            create(Pool(), self.daemon.socket, kvshm={"sockets": "x"})


def attach_without_name(test, model_name):
    from kvshm.sglang import KvshmHiCache

    backend = KvshmHiCache(storage_config({"kvshm": {"socket": test.daemon.socket}}, model_name=model_name))
    test.addCleanup(backend.close)
    attach(backend, Pool(), ())
    return backend


class SeveralPools(WithBackend):
    def setUp(self):
        super().setUp()
        self.sides = {MAMBA: Pool(dim=32), INDEXER: Pool(heads=1)}
        self.backend = self.make(self.pool, sidecars=self.sides.items())
        self.keys = hashes(1, 10)

    def transfer(self, name, keys, pages=None, policy=PoolHitPolicy.ALL_PAGES):
        indices = self.sides[name].indices(range(len(keys)) if pages is None else pages) if len(keys) else None
        return PoolTransfer(name=name, host_indices=indices, keys=list(keys), hit_policy=policy)

    def test_pages_of_all_pools_come_back(self):
        for name, pool in self.sides.items():
            pool.fill(self.keys, range(10))
        transfers = [self.transfer(name, self.keys) for name in self.sides]
        self.assertEqual(self.backend.batch_set_v2(transfers, after([])), dict.fromkeys(self.sides, [True] * 10))
        pages = list(range(20, 30))
        self.assertEqual(self.backend.batch_get_v2([self.transfer(name, self.keys, pages) for name in self.sides]),
                         dict.fromkeys(self.sides, [True] * 10))
        self.assertTrue(all(all(pool.holds(self.keys, pages)) for pool in self.sides.values()))

    def test_a_transfer_that_is_not_whole_fails_alone(self):
        short = self.transfer(MAMBA, self.keys, range(9))
        for call in (self.backend.batch_set_v2, self.backend.batch_get_v2):
            with self.subTest(call=call.__name__):
                self.backend.batch_set_v2([self.transfer(INDEXER, self.keys)])
                self.assertEqual(call([short, self.transfer(INDEXER, self.keys), self.transfer(MAMBA, [])]),
                                 {MAMBA: [], INDEXER: [True] * 10})
        self.assertEqual(self.backend.batch_set_v2([short]), {MAMBA: [False] * 10})

    def test_the_prefix_is_that_of_sglangs_own_file_backend(self):
        dice = random.Random(5)
        for turn in range(12):
            keys = hashes(100 + turn, 10)
            there = {name: sorted(dice.sample(range(10), dice.randint(0, 10))) for name in self.sides}
            kv_pages = dice.randint(0, 10)
            wanted = [self.transfer(INDEXER, keys), self.transfer(MAMBA, keys[:dice.randint(0, 3)], policy=PoolHitPolicy.TRAILING_PAGES)]
            with tempfile.TemporaryDirectory() as folder:
                files = HiCacheFile(storage_config(), folder)
                attach(files, self.pool, self.sides.items())
                for backend in (files, self.backend):
                    if kv_pages:
                        data = [self.pool.get_data_page(0)] * kv_pages
                        self.assertTrue(backend.batch_set(keys[:kv_pages], data))
                    for name, places in there.items():
                        for place in places:
                            backend.batch_set_v2([self.transfer(name, [keys[place]], [place])])
                expected = files.batch_exists_v2(keys, wanted)
                self.assertEqual(self.backend.batch_exists_v2(keys, wanted), expected)

    def test_a_pool_whose_rule_is_not_known_has_no_say(self):
        groups = self.transfer(MAMBA, self.keys, policy=PoolHitPolicy.BLOCK_GROUPS)
        self.assertEqual(fold(4, [groups], lambda _: self.fail("it is not asked")).kv_hit_pages, 4)

    def test_a_pool_without_bytes_of_its_own_is_always_there(self):
        anchor = mock.Mock(page_size=PAGE_TOKENS)
        anchor.get_page_buffer_meta.return_value = None
        backend = self.make(anchor, sidecars=[(INDEXER, self.sides[INDEXER])])
        indexer = self.transfer(INDEXER, self.keys[:6])
        self.assertEqual(backend.batch_exists_v2(self.keys, [indexer]).kv_hit_pages, 0)
        backend.batch_set_v2([indexer])
        self.assertEqual(backend.batch_exists_v2(self.keys, [indexer]).kv_hit_pages, 6)
        self.assertEqual(backend.batch_get_v1(self.keys, None), [True] * 10)


class Controller(WithBackend):
    """SGLang's own code for queries, loads and backups, without its threads and its device."""

    def setUp(self):
        super().setUp()
        self.pool = Pool(pages=300)
        self.keys = hashes(1, 300)

    def controller(self):
        c = object.__new__(HiCacheController)
        c.storage_backend, c.storage_host_pool, c.page_size = self.make(self.pool), self.pool, PAGE_TOKENS
        c.page_get_func, c.page_set_func = c._page_get_zero_copy, c._page_set_zero_copy
        c.prefetch_sync_queue = mock.Mock()
        return c

    def back_up(self, c, keys, pages, before):
        self.pool.fill(keys, pages)
        operation = StorageOperation(self.pool.indices(pages), [], hash_value=keys, prefix_keys=before)
        c._page_backup(operation)
        return operation.completed_tokens // PAGE_TOKENS

    def fetch(self, c, chain=1, nr=300, skip=0):
        """Return: pages found, pages loaded; those are right."""
        keys, tokens = hashes(chain, nr), [chain] + list(range(1, nr * PAGE_TOKENS))
        operation = PrefetchOperation("request", tokens[skip * PAGE_TOKENS:], keys[skip - 1] if skip else None, keys[:skip])
        found, tokens_found = c._storage_hit_query(operation)
        self.assertEqual(found, keys[skip:skip + tokens_found // PAGE_TOKENS])
        operation.hash_value = found
        operation.host_indices = self.pool.indices(range(len(found))) if found else None
        self.pool.kv_buffer.zero_()
        loaded = c._page_transfer(operation)
        self.assertTrue(all(self.pool.holds(found[:loaded], range(loaded))))
        return len(found), loaded

    def test_backup_and_prefetch_of_more_than_a_batch(self):
        c = self.controller()
        self.assertEqual(self.fetch(c), (0, 0))
        self.assertEqual(self.back_up(c, self.keys[:200], range(200), []), 200)
        self.assertEqual(self.fetch(c), (200, 200))
        self.assertEqual(self.back_up(c, self.keys[200:], range(200, 300), self.keys[:200]), 100)
        self.assertEqual(self.fetch(self.controller()), (300, 300))
        self.assertEqual(self.fetch(c, skip=150), (150, 150))

    def test_under_sglangs_fault_injector_nothing_wrong_is_loaded(self):
        with envs.SGLANG_TEST_HICACHE_BACKEND_RANDOM_FAILURE.override(0.3), \
                envs.SGLANG_TEST_HICACHE_BACKEND_RANDOM_DELAY.override(0.002):
            faulty = create(self.pool, self.daemon.socket)
        self.assertIsInstance(faulty, HiCacheStorageFailureInjector)
        self.addCleanup(faulty._backend.close)
        faulty._thread_local.random = random.Random(5)          # the same faults in each run
        c, seen = self.controller(), set()
        c.storage_backend = faulty
        for turn in range(60):
            chain, at = 10 + turn % 6, turn // 6 * 2
            keys = hashes(chain, 20)
            self.back_up(c, keys[at:at + 2], range(2), keys[:at])
            seen.add(self.fetch(c, chain, 20))
        self.assertTrue(any(found > loaded for found, loaded in seen), seen)     # a load failed
        self.assertTrue(any(loaded for _, loaded in seen), seen)
        self.assertLess(max(found for found, _ in seen), 20)                     # so did a backup of each chain


class TheDaemon(WithBackend):
    def test_no_daemon_is_said_once_and_one_that_comes_is_found(self):
        self.daemon.kill()
        os.unlink(self.daemon.socket)
        keys, pool = hashes(1, 4), Pool()
        with self.assertLogs(LOG, "WARNING") as log:
            backend = self.make(pool)
            for _ in range(3):
                self.assertEqual(backend.batch_exists(keys), 0)
                self.assertEqual(self.store(keys, backend=backend, pool=pool), 0)
                self.assertEqual(self.load(keys, backend, pool), [False] * 4)
        self.assertEqual(len(log.output), 1, log.output)
        self.daemon.start()
        self.assertEqual(until(lambda: self.store(keys, backend=backend, pool=pool)), 4)
        self.assertEqual(until(lambda: backend.batch_exists(keys)), 4)

    def test_it_dies_and_comes_back(self):
        keys = hashes(1, 8)
        self.store(keys[:5])
        self.daemon.kill()
        with self.assertLogs(LOG, "WARNING") as log:
            self.assertEqual(self.load(keys), [True] * 5 + [False] * 3)

            def told():
                self.assertEqual(self.store(keys), 5)
                return log.output
            self.assertTrue(until(told))
            told()
            self.assertEqual(self.backend.batch_exists(keys), 5)
        self.assertEqual(len(log.output), 1, log.output)
        self.daemon.start()
        self.assertEqual(until(lambda: self.store(keys) == 8 and 8), 8)
        self.assertEqual(self.load(keys), [True] * 8)

    def test_it_dies_while_a_save_waits(self):
        keys = hashes(1, 8)
        send = self.backend.kv.send_in_place

        def and_die(*args):
            nr = send(*args)
            self.daemon.kill()
            return nr
        with mock.patch.object(self.backend.kv, "send_in_place", and_die):
            self.assertIn(self.store(keys), (0, 8))             # 8: it had answered before
        self.daemon.start()
        self.assertEqual(until(lambda: self.store(keys) == 8 and 8), 8)


if __name__ == "__main__":
    unittest.main()
