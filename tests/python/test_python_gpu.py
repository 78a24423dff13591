# SPDX-License-Identifier: Apache-2.0
"""kvshm.Gpu over the fake driver: each layout there and back, layer by layer; what goes wrong on a device."""
import errno
import glob
import os
import struct
import threading
import time
import unittest

from gpulib import LAYOUTS, LIBCUDA, FakeCuda, Pool, Tensor
from packagelib import TOKENS, WithDaemon, keys_of, kvshm, until

os.environ["KVSHM_LIBCUDA"] = LIBCUDA

from kvshm.gpu_layout import Layout, box_of  # noqa: E402

SIZES = {"L": 4, "K": 2, "B": 8, "H": 2, "N": TOKENS, "C": 64}
FROM, TO = [5, 1, 2], [0, 7, 3]
SLOW = "h2d=2e6;d2h=2e6"                # a block takes 16 ms
SOON = 10.0
cuda = FakeCuda()


class WithGpu(WithDaemon):
    layout, gpu = "LBHNC", None
    options = ("--size", "64M")

    def setUp(self):
        super().setUp()
        cuda.script("reset")
        self.addCleanup(cuda.script, "reset")
        self.pool = self.make_pool(self.layout)
        self.begin()

    def make_pool(self, name):
        pool = Pool(cuda, *LAYOUTS[name], **SIZES)
        self.addCleanup(pool.free)
        pool.fill(1)
        return pool

    def begin(self, **options):
        """Also again: one side at a time may pin the arena."""
        if self.gpu:
            self.gpu.close()
        self.where = Layout([self.pool.tensors], SIZES["B"], TOKENS)
        self.gpu = self.where.open(self.client, **{"timeout": 0.5, **options})
        self.addCleanup(self.shut, self.gpu)
        self.block_len = self.gpu.block_len(0)
        self.ns = self.client.attach_ns(self.layout.encode(), b"gpu", self.block_len, TOKENS, "tests")
        until(self.is_settled)

    def is_settled(self):
        """The arena is pinned, or refused."""
        info = self.gpu.info()
        return info["nr_pinned"] + info["nr_refused"] == info["nr_extents"]

    def shut(self, gpu):
        cuda.script("reset")
        try:
            gpu.close()
        except kvshm.DeviceError:
            pass

    def save(self, chain, pages=None, **how):
        pages = FROM if pages is None else pages
        grants = self.ns.grant(len(pages), SOON)
        self.assertEqual(len(grants), len(pages))
        return self.gpu.save([(self.ns, keys_of(chain, len(pages)), grants, pages, None)], tag=chain, **how)

    def load(self, chain, nr=3, **how):
        pin = self.ns.acquire(keys_of(chain, nr))
        self.assertEqual(len(pin), nr)
        job = self.gpu.load([(pin, TO[:nr])], **how)
        self.assertTrue(pin.released)
        return job

    def put(self, chain):
        """A chain that was saved.  Return: what its pages held."""
        job = self.save(chain)
        self.assertTrue(job.wait(timeout=SOON))
        self.assertEqual(self.outcome(chain).published, len(FROM))
        return [self.pool.page(n) for n in FROM]

    def outcome(self, tag):
        done = until(lambda: self.client.poll(timeout=1.0))
        self.assertEqual(done[0].tag, tag)
        return done[0]

    def words_in_use(self):
        """Pins that the daemon counts."""
        nr = 0
        for path in glob.glob(os.path.join(self.daemon.memory, "pins.*")):
            with open(path, "rb") as f:
                data = f.read()
            nr += sum(1 for (word,) in struct.iter_unpack("<Q", data[8:len(data) // 8 * 8]) if word)
        return nr

    def over(self, job):
        self.assertTrue(until(job.is_over))


class Layouts(WithGpu):
    def there_and_back(self, chain, **how):
        self.pool.fill(chain)
        held = self.put(chain)
        with self.ns.acquire(keys_of(chain, 3)) as pin:
            blocks = [bytes(block) for block in pin]
        self.pool.fill(99)
        job = self.load(chain, **how)
        self.assertTrue(job.wait(timeout=SOON))
        self.assertEqual([self.pool.page(n) for n in TO], held)
        return held, blocks, job

    def test_every_layout_goes_to_the_cache_and_back(self):
        for name in LAYOUTS:
            with self.subTest(layout=name):
                self.layout, self.pool = name, self.make_pool(name)
                self.begin()
                for how in {}, {"layers_per_step": 1}:
                    held, blocks, job = self.there_and_back(100 + len(how), **how)
                    self.assertEqual(job.info()["nr_steps"], SIZES["L"] if how else 1)
                    # as a page lies in memory, so that a load needs the fewest copies
                    self.assertEqual(blocks, held)
                self.assertEqual(self.gpu.info()["bounced_bytes"], 0)

    def test_a_block_of_all_layers_is_one_copy_where_pages_are_outermost(self):
        self.layout, self.pool = "BLHNC", self.make_pool("BLHNC")
        self.begin()
        job = self.there_and_back(7)[2]
        self.assertLessEqual(job.info()["nr_copies"], 3)

    def test_kv_apart_is_two_parts_and_heads_side_by_side_are_one_run(self):
        boxes = {name: box_of(self.make_pool(name).layer(0), SIZES["B"], TOKENS)[0] for name in LAYOUTS}
        token = SIZES["C"] * 2
        self.assertEqual((boxes["HND"].nr_parts, boxes["HND"].nr_heads, boxes["HND"].run_len), (2, 2, token))
        self.assertEqual((boxes["NHD"].nr_parts, boxes["NHD"].nr_heads, boxes["NHD"].run_len), (1, 2, 2 * token))
        self.assertEqual((boxes["MLA"].nr_heads, boxes["MLA"].run_len), (1, token))
        self.assertEqual(boxes["LBHNC"].order(), boxes["BLHNC"].order())
        self.assertNotEqual(boxes["LBHNC"].order(), boxes["LBNHC"].order())

    def test_what_is_no_box_is_refused(self):
        for shape, stride in (([8, 4, 12], [48, 12, 1]),                                # no tokens
                              ([9, TOKENS, 4], [64, 4, 1]),                             # no pages
                              ([8, 3, 5, TOKENS, 4], [9000, 2000, 300, 8, 1])):         # more than a box has
            with self.subTest(shape=shape):
                self.assertRaises(ValueError, box_of, Tensor(4096, shape, stride), 8, TOKENS)

    def test_layers_that_share_a_tensor_are_one(self):
        tensors = dict(self.pool.tensors)
        tensors["model.layers.9.attn"] = tensors["model.layers.1.attn"]
        where = Layout([tensors], SIZES["B"], TOKENS)
        self.assertEqual(len(where.layers), SIZES["L"])
        self.assertEqual(where.at["model.layers.9.attn"], where.at["model.layers.1.attn"])

    def test_layers_are_in_the_models_order(self):
        tensors = self.pool.tensors
        names = sorted(tensors)
        where = Layout([{name: tensors[name] for name in names[1::2]}, {name: tensors[name] for name in names[::2]}],
                       SIZES["B"], TOKENS)
        self.assertEqual([where.at[name] for name in names], [0, 1, 2, 3])
        self.assertEqual([part.group for part in where.parts], [0, 1])

    def test_groups_go_in_one_job(self):
        names = sorted(self.pool.tensors)
        halves = [{name: self.pool.tensors[name] for name in names[i::2]} for i in range(2)]
        where = Layout(halves, SIZES["B"], TOKENS)
        gpu = where.open(self.client)
        spaces = [self.client.attach_ns(b"half %d" % i, b"half", gpu.block_len(i), TOKENS) for i in range(2)]
        held = [self.pool.page(n) for n in FROM]
        saves = [(ns, b"".join(keys_of(1, 3)), ns.grant(3, SOON), FROM, None) for ns in spaces]
        self.assertTrue(gpu.save(saves, tag=5).wait(timeout=SOON))
        self.assertTrue(until(lambda: all(len(ns.acquire(keys_of(1, 3))) == 3 for ns in spaces)))
        self.pool.fill(50)
        pins = kvshm.acquire_group([(ns, keys_of(1, 3)) for ns in spaces])
        self.assertTrue(gpu.load([(pin, TO) for pin in pins]).wait(timeout=SOON))
        self.assertEqual([self.pool.page(n) for n in TO], held)
        # of one group only
        self.pool.fill(60)
        before = self.pool.page(TO[0])
        self.assertTrue(gpu.load([(spaces[0].acquire(keys_of(1, 1)), TO[:1]), None]).wait(timeout=SOON))
        layers = quarters(self.pool.page(TO[0]))
        self.assertEqual([a == b for a, b in zip(layers, quarters(held[0]))], [True, False] * 2)
        self.assertEqual([a == b for a, b in zip(layers, quarters(before))], [False, True] * 2)
        gpu.close()


def quarters(page):
    return [page[i * len(page) // 4:(i + 1) * len(page) // 4] for i in range(4)]


class Layers(WithGpu):
    def test_a_layer_is_there_before_the_others(self):
        held = self.put(1)
        cuda.script(SLOW)
        job = self.load(1, layers_per_step=1)
        self.assertFalse(job.wait(0))
        self.assertTrue(job.wait(0, timeout=SOON))
        self.assertFalse(job.wait())
        self.assertEqual(quarters(self.pool.page(TO[0]))[0], quarters(held[0])[0])
        self.assertEqual(self.words_in_use(), 1)
        self.assertTrue(job.wait(3, timeout=SOON))
        self.assertEqual([self.pool.page(n) for n in TO], held)
        self.assertEqual(self.words_in_use(), 0)

    def test_a_stream_of_the_engine_waits(self):
        self.put(1)
        cuda.script(SLOW)
        stream = cuda.stream()
        job = self.load(1, layers_per_step=1)
        self.assertTrue(job.block(None, stream))
        self.assertFalse(cuda.is_idle(stream))
        self.assertTrue(job.wait(timeout=SOON))
        self.assertTrue(cuda.is_idle(stream))

    def test_a_save_comes_after_what_is_on_the_stream(self):
        self.put(1)
        stream = cuda.stream()
        cuda.script(SLOW)
        load = self.load(1, layers_per_step=1)
        self.assertTrue(load.block(None, stream))
        save = self.save(2, TO, stream=stream, after=True)  # reads what the load writes
        self.assertTrue(save.wait(timeout=SOON))
        self.assertTrue(load.wait())
        self.outcome(2)
        for a, b in zip(self.ns.acquire(keys_of(1, 3)), self.ns.acquire(keys_of(2, 3))):
            self.assertEqual(bytes(a), bytes(b))

    def test_waiting_lets_other_threads_run(self):
        self.put(1)
        cuda.script(SLOW)
        job = self.load(1)
        counted, is_done = [0], threading.Event()

        def count():
            while not is_done.is_set():
                counted[0] += 1
                time.sleep(0)

        thread = threading.Thread(target=count)
        thread.start()
        began = counted[0]
        self.assertTrue(job.wait(timeout=SOON))
        ended = counted[0]
        is_done.set()
        thread.join()
        self.assertGreater(ended - began, 10)


class Owners(WithGpu):
    """What a job stands on is the library's, whatever becomes of the objects."""

    def test_a_load_that_is_dropped_keeps_its_pin_until_what_was_issued_has_landed(self):
        self.put(1)
        cuda.script(SLOW)
        job = self.load(1, layers_per_step=1)
        before = cuda.counters()["copies_h2d"]
        del job
        self.assertEqual(self.words_in_use(), 1)
        self.assertTrue(until(lambda: self.gpu.poll() == 0))
        self.assertEqual(self.words_in_use(), 0)
        now = cuda.counters()
        self.assertEqual((now["landed_h2d"], now["copies_h2d"]), (now["copies_h2d"], before))
        self.assertEqual(self.gpu.info()["cancelled"], 1)

    def test_a_save_that_is_dropped_is_committed(self):
        cuda.script(SLOW)
        self.save(3)
        self.assertTrue(until(lambda: self.gpu.poll() == 0))
        self.assertEqual(self.outcome(3).published, 3)
        self.assertEqual([bytes(b) for b in self.ns.acquire(keys_of(3, 3))], [self.pool.page(n) for n in FROM])

    def test_pins_that_cannot_be_handed_over(self):
        self.put(1)
        pin = self.ns.acquire(keys_of(1, 3))
        view = memoryview(pin[0])
        self.assertRaises(BufferError, self.gpu.load, [(pin, TO)])
        del view
        pin.release()
        self.assertRaises(ValueError, self.gpu.load, [(pin, TO)])
        pin = self.ns.acquire(keys_of(1, 3))
        for error, entry in ((ValueError, (pin, TO + [4])), (TypeError, pin), (TypeError, (pin, ["0"])),
                             (OverflowError, (pin, [-1])), (kvshm.DeviceError, (pin, [SIZES["B"]]))):
            with self.subTest(error=error, entry=entry):
                self.assertRaises(error, self.gpu.load, [entry])
                self.assertFalse(pin.released)
        self.assertRaises(ValueError, self.gpu.load, [(pin, TO), None])
        self.assertEqual(self.words_in_use(), 1)
        self.assertTrue(self.gpu.load([(pin, TO)]).wait(timeout=SOON))
        self.assertEqual(self.words_in_use(), 0)

    def test_a_pin_serves_one_group(self):
        names = sorted(self.pool.tensors)
        where = Layout([{name: self.pool.tensors[name] for name in names[i::2]} for i in range(2)], SIZES["B"], TOKENS)
        gpu = where.open(self.client)
        self.put(1)
        pin = self.ns.acquire(keys_of(1, 3))
        self.assertRaises(ValueError, gpu.load, [(pin, TO), (pin, TO)])
        self.assertFalse(pin.released)
        self.assertEqual(self.words_in_use(), 1)
        gpu.close()

    def test_grants_that_cannot_be_handed_over(self):
        grants, keys = self.ns.grant(3, SOON), keys_of(4, 3)
        view = memoryview(grants[1])
        self.assertRaises(BufferError, self.gpu.save, [(self.ns, keys, grants, FROM, None)])
        del view
        for error, entry in ((ValueError, (self.ns, keys[:2], grants, FROM, None)),
                             (ValueError, (self.ns, keys, grants[:2], FROM, None)),
                             (ValueError, (self.ns, keys, [grants[0]] * 3, FROM, None)),
                             (TypeError, (self.ns, keys, [1, 2, 3], FROM, None)),
                             (TypeError, (self.ns, keys, grants, FROM)),
                             (kvshm.DeviceError, (self.ns, keys, grants, [0, 1, SIZES["B"]], None))):
            with self.subTest(error=error):
                self.assertRaises(error, self.gpu.save, [entry])
        self.assertTrue(self.gpu.save([(self.ns, keys, grants, FROM, None)], tag=4).wait(timeout=SOON))
        self.assertRaises(ValueError, self.gpu.save, [(self.ns, keys, grants, FROM, None)])
        self.assertEqual(self.outcome(4).published, 3)

    def test_closing_ends_jobs_and_leaves_no_pin(self):
        self.put(1)
        cuda.script(SLOW)
        load, save = self.load(1), self.save(2)
        self.gpu.close()
        for job in load, save:
            self.assertRaises(ValueError, job.wait)
            self.assertRaises(ValueError, job.info)
        pin = self.ns.acquire(keys_of(1, 1))
        self.assertRaises(ValueError, self.gpu.load, [(pin, [0])])
        self.assertFalse(pin.released)
        pin.release()
        self.assertEqual(self.words_in_use(), 0)
        self.assertEqual(self.outcome(2).published, 3)

    def test_closing_the_client_closes_its_sides(self):
        self.gpu.close()
        before = cuda.counters()["registered"]
        self.begin()
        self.put(1)
        cuda.script(SLOW)
        job = self.load(1)
        self.client.close()
        self.assertRaises(ValueError, job.wait)
        self.assertRaises(ValueError, self.gpu.poll)
        self.assertEqual(cuda.counters()["registered"], before)

    def test_a_forked_child_has_no_device(self):
        self.put(1)
        job = self.load(1)
        child = os.fork()
        if child == 0:
            ok = True
            for call in job.wait, self.gpu.poll, self.gpu.info, lambda: self.gpu.load([None]):
                try:
                    call()
                    ok = False
                except kvshm.ForkError:
                    pass
            os._exit(0 if ok else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertTrue(job.wait(timeout=SOON))


class Failures(WithGpu):
    def test_refused_third_copy(self):
        held = self.put(1)
        cuda.script(SLOW + ";" + ";".join(f"fail={name}:3:700" for name in
                                          ("cuMemcpyHtoDAsync", "cuMemcpy2DAsync", "cuMemcpyBatchAsync")))
        job = self.load(1, layers_per_step=1)
        with self.assertRaises(kvshm.DeviceError) as caught:
            job.wait(timeout=SOON)
        self.assertEqual(caught.exception.errno, errno.ENOTRECOVERABLE)
        self.assertFalse(job.is_over())
        self.assertEqual(self.words_in_use(), 1)
        self.over(job)
        now = cuda.counters()
        self.assertEqual((now["landed_h2d"], self.words_in_use()), (now["copies_h2d"], 0))
        cuda.script("reset")            # the device answers, so it is used again
        self.assertTrue(self.load(1).wait(timeout=SOON))
        self.assertEqual([self.pool.page(n) for n in TO], held)

    def test_refused_copy_of_a_save_publishes_nothing(self):
        cuda.script(";".join(f"fail={name}:1:1" for name in
                             ("cuMemcpyDtoHAsync", "cuMemcpy2DAsync", "cuMemcpyBatchAsync")))
        job = self.save(5)
        self.assertRaises(kvshm.DeviceError, job.wait, timeout=SOON)
        self.over(job)
        self.client.sync()
        self.assertEqual((self.client.poll(), len(self.ns.acquire(keys_of(5, 3)))), ([], 0))

    def test_cancelled_load(self):
        self.put(1)
        cuda.script(SLOW)
        job = self.load(1, layers_per_step=1)
        self.assertFalse(job.cancel())
        with self.assertRaises(kvshm.DeviceError) as caught:
            job.wait(3)
        self.assertEqual(caught.exception.errno, errno.ECANCELED)
        self.assertEqual(self.words_in_use(), 1)
        self.over(job)
        self.assertEqual(self.words_in_use(), 0)

    def test_a_device_that_hangs(self):
        self.put(1)
        cuda.script("hang=1")
        job = self.load(1)
        began = time.monotonic()
        self.assertFalse(job.wait(timeout=0.05))
        self.assertLess(time.monotonic() - began, 5)
        self.assertFalse(job.is_over())
        with self.assertRaises(kvshm.DeviceError) as caught:
            self.gpu.close()
        self.assertEqual(caught.exception.errno, errno.ETIMEDOUT)
        self.client.close()
        self.assertEqual(self.words_in_use(), 1)        # until the process ends

    def test_a_copy_that_does_not_land(self):
        self.put(1)
        cuda.script(SLOW + ";land=2:700")
        job = self.load(1, layers_per_step=1)
        with self.assertRaises(kvshm.DeviceError) as caught:
            job.wait(timeout=SOON)
        self.assertEqual(caught.exception.errno, errno.ENOTRECOVERABLE)
        self.assertRaises(kvshm.DeviceError, job.is_over)
        with self.assertRaises(kvshm.DeviceError):
            self.load(1)
        self.assertEqual(self.gpu.info()["held_jobs"], 1)

    def test_refused_registration_costs_time_only(self):
        cuda.script("fail=cuMemHostRegister:0:801")
        self.begin()
        self.assertEqual((self.gpu.info()["nr_pinned"], bool(self.gpu.info()["why"])), (0, True))
        held = self.put(1)
        self.pool.fill(9)
        job = self.load(1, layers_per_step=1)
        self.assertTrue(until(lambda: job.block(None, 0) or self.gpu.poll() and False))
        self.assertTrue(job.wait(timeout=SOON))
        self.assertEqual([self.pool.page(n) for n in TO], held)
        self.assertEqual(job.info()["is_bounced"], 1)

    def test_a_daemon_that_dies(self):
        held = self.put(1)
        cuda.script(SLOW)
        load, save = self.load(1), self.save(2)
        self.daemon.kill()
        self.assertTrue(load.wait(timeout=SOON))
        self.assertEqual([self.pool.page(n) for n in TO], held)
        try:
            save.wait(timeout=SOON)
        except kvshm.Error as error:
            self.assertEqual(error.errno, errno.ECONNRESET)
        self.assertEqual([c for c in self.client.poll() if c.published], [])

    def test_all_jobs_under_way(self):
        self.begin(max_jobs=2)
        self.put(1)
        cuda.script(SLOW)
        jobs = [self.load(1), self.load(1)]
        pin = self.ns.acquire(keys_of(1, 3))
        with self.assertRaises(kvshm.DeviceError) as caught:
            self.gpu.load([(pin, TO)])
        self.assertEqual((caught.exception.errno, pin.released), (errno.EBUSY, False))
        self.assertTrue(all(job.wait(timeout=SOON) for job in jobs))


class Untrusted(WithGpu):
    def open(self, **options):
        return super().open(untrusted=True, **options)

    def test_loads_and_saves_bounce(self):
        self.assertFalse(self.client.stats()["is_trusted"])
        self.assertEqual(self.gpu.info()["nr_pinned"], 0)
        held = [self.pool.page(n) for n in FROM]
        keys = keys_of(1, 3)
        self.assertTrue(self.gpu.save([(self.ns, keys[:2], None, FROM[:2], None)], tag=1).wait(timeout=SOON))
        self.outcome(1)
        self.assertTrue(self.gpu.save([(self.ns, keys[2:], None, FROM[2:], keys[1])], tag=2).wait(timeout=SOON))
        self.outcome(2)
        self.pool.fill(9)
        job = self.load(1, layers_per_step=1)
        self.assertTrue(job.wait(timeout=SOON))
        self.assertEqual([self.pool.page(n) for n in TO], held)
        self.assertEqual((job.info()["is_bounced"], cuda.counters()["pageable"]), (1, 0))


class Opening(WithGpu):
    def test_no_driver(self):
        for path, wanted in (("/nonexistent/libcuda.so.1", errno.ENOENT), ("libc.so.6", errno.ENOSYS)):
            with self.subTest(path=path), self.assertRaises(kvshm.DeviceError) as caught:
                self.where.open(self.client, libcuda=path)
            self.assertEqual(caught.exception.errno, wanted)

    def test_no_such_device(self):
        for tensor in self.pool.tensors.values():
            tensor.device.index = 7
        self.where = Layout([self.pool.tensors], SIZES["B"], TOKENS)
        with self.assertRaises(kvshm.DeviceError) as caught:
            self.where.open(self.client)
        self.assertEqual(caught.exception.errno, errno.ENODEV)

    def test_current_device(self):
        gpu = kvshm.Gpu(self.client, [part.box for part in self.where.parts], self.where.layers)
        self.assertEqual((gpu.info()["name"], gpu.info()["is_simulated"]), ("fake device 0", 1))

    def test_layouts_that_cannot_be(self):
        box, layers = tuple(self.where.parts[0].box), self.where.layers
        for error, groups, rows in ((kvshm.DeviceError, [box], [(1, 4096, 0)]),
                                    (kvshm.DeviceError, [(0,) + box[1:]], layers),
                                    (kvshm.DeviceError, [box], layers + layers[:1]),
                                    (ValueError, [], layers), (ValueError, [box], []), (TypeError, [box[1:]], layers),
                                    (TypeError, [box], [(0, 4096)]), (ValueError, [(1 << 33,) + box[1:]], layers),
                                    (OverflowError, [(-1,) + box[1:]], layers)):
            with self.subTest(error=error, groups=groups, layers=rows):
                self.assertRaises(error, kvshm.Gpu, self.client, groups, rows)

    def test_a_daemon_that_comes_later(self):
        self.daemon.kill()
        client = kvshm.open(os.path.join(self.daemon.dir, "other.sock"), required=False)
        self.addCleanup(client.close)
        gpu = self.where.open(client)
        self.assertEqual((gpu.info(), gpu.poll(), gpu.block_len(0)), ({}, 0, self.block_len))
        ns = client.attach_ns(b"later", b"gpu", self.block_len, TOKENS)
        self.assertEqual(ns.grant(1), [])
        with self.assertRaises(kvshm.Error) as caught:
            gpu.save([(ns, keys_of(1, 1), None, [0], None)])
        self.assertEqual(caught.exception.errno, errno.ECONNRESET)
        self.daemon.start()
        os.symlink(self.daemon.socket, os.path.join(self.daemon.dir, "other.sock"))
        until(lambda: ns.grant(1, 1.0))
        self.assertTrue(gpu.save([(ns, keys_of(1, 1), ns.grant(1, SOON), [0], None)]).wait(timeout=SOON))
        self.assertTrue(gpu.info()["is_simulated"])


if __name__ == "__main__":
    unittest.main()
