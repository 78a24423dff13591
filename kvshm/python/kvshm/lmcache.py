# SPDX-License-Identifier: Apache-2.0
"""kvshm.lmcache - the node's KV cache as an L2 of LMCache (adapter type native_plugin)

    --l2-adapter '{"type": "native_plugin", "module_path": "kvshm.lmcache", "class_name": "KvshmL2",
                   "adapter_params": {"layout": "meta-llama/Llama-3.1-8B@0e9e39f bf16 page16"}}'

LMCache names objects model@rank@group@chunk[@salt] and says neither revision nor dtype nor layout: that
is what `layout` is for.  An object is one loose block; one that is longer than `part_bytes` is a chain whose
last block has the object's own key, so that by Invariant T the last one there means all of it there.

    LMCache's threads          here                       client
    submit exists     ->       answered at once           lookup
    submit get        ->       a share for each thread    readers: pin, compare the length, copy, release
    submit set        ->       queue, one thread          writer: put, wait for the outcome
    drain             <-       completions, event fd

Nothing is promised between exists and get: what was evicted in between is reported as not loaded.  Without
a daemon everything is a miss.
"""
import functools
import hashlib
import logging
import os
import queue
import threading
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from ._kvshm import ChecksumError, Client, Error, Namespace, Pin, copy_pins

log = logging.getLogger(__name__)

MAX_BLOCK = 64 << 20
CHUNK_TOKENS = 256
WAIT_S = 10.0                       # for the outcome of a put
PINNED = 16                         # objects at once: a long batch must not spend the pin quota
SENT = 1024                         # the same of a put
Completion = Tuple[int, bool, str, Optional[List[bool]]]
Job = Callable[[], Optional[Completion]]


def block_keys(key: str, nr: int) -> List[bytes]:
    """Keys of an object's blocks, root first; the last does not depend on their number."""
    parts = [hashlib.sha256(f"part {i} of {key}".encode()).digest() for i in range(nr - 1)]
    return parts + [hashlib.sha256(key.encode()).digest()]


def cut(places: List[int], nr: int) -> Iterator[List[int]]:
    for at in range(0, len(places), nr):
        yield places[at:at + nr]


class Names:
    """A client of its own and its namespaces, one a model."""

    def __init__(self, layout: str, part_bytes: int, label: str, socket: Optional[str],
                 instance: Optional[str]) -> None:
        self.part_bytes = part_bytes
        self.layout = hashlib.sha256(f"kvshm-lmcache/1 {part_bytes} {layout}".encode()).digest()
        self.client = Client(socket, instance=instance, label=label, required=False)
        self.by_model: Dict[str, Namespace] = {}

    def of(self, key: str) -> Namespace:
        model = key.split("@", 1)[0]
        if model not in self.by_model:
            name = hashlib.sha256(self.layout + model.encode()).digest()
            label = ("lmcache " + model.rsplit("/", 1)[-1]).encode()[:31].decode(errors="ignore")
            self.by_model[model] = self.client.attach_ns(name, self.layout, self.part_bytes, CHUNK_TOKENS, label)
        return self.by_model[model]

    def groups(self, keys: Sequence[str], places: Sequence[int]) -> List[Tuple[Namespace, List[int]]]:
        """These places of a batch, by the namespace of their keys."""
        found: Dict[int, Tuple[Namespace, List[int]]] = {}
        for i in places:
            ns = self.of(keys[i])
            found.setdefault(id(ns), (ns, []))[1].append(i)
        return list(found.values())


class Worker:
    """One thread that does jobs in their order and tells their completions."""

    def __init__(self, name: str, done: Callable[[Completion], None]) -> None:
        self.jobs: "queue.SimpleQueue[Optional[Tuple[int, Job]]]" = queue.SimpleQueue()
        self.done = done
        self.thread = threading.Thread(target=self.run, name=name, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while True:
            item = self.jobs.get()
            if item is None:
                return
            number, job = item
            try:
                completion = job()
                if completion:
                    self.done(completion)
            except Exception as error:          # a job that raised has failed; the thread goes on
                log.exception("kvshm: a request of LMCache failed")
                self.done((number, False, str(error), None))

    def stop(self) -> None:
        self.jobs.put(None)
        self.thread.join()


class Get:
    """One batch to be loaded, by several threads; the last of them tells."""

    def __init__(self, number: int, keys: List[str], views: List[memoryview], nr_shares: int) -> None:
        self.number, self.keys, self.views = number, keys, views
        self.loaded = [False] * len(keys)
        self.nr_left = nr_shares
        self.lock = threading.Lock()

    def end_share(self) -> Optional[Completion]:
        with self.lock:
            self.nr_left -= 1
            return (self.number, True, "", self.loaded) if not self.nr_left else None


class KvshmL2:
    """What LMCache calls; adapter_params are the arguments."""

    def __init__(self, layout: str, socket: Optional[str] = None, instance: Optional[str] = None,
                 part_bytes: int = MAX_BLOCK, verify: bool = False, readers: int = 2) -> None:
        if not layout:
            raise ValueError("kvshm: adapter_params: layout is wanted: all that makes KV bytes of two engines differ "
                             "and is not in LMCache's keys: model revision, dtype, engine, page layout")
        if not 4096 <= part_bytes <= MAX_BLOCK:
            raise ValueError("kvshm: adapter_params: part_bytes: 4096 to 67108864")
        if not 1 <= readers <= 16:
            raise ValueError("kvshm: adapter_params: readers: 1 to 16")
        self.part_bytes, self.verify = part_bytes, verify
        self.lookup, self.writer, *self.readers = (
            Names(layout, part_bytes, f"lmcache {role}", socket, instance)
            for role in ("lookup", "writer", *["reader"] * readers))
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.lock = threading.Lock()
        self.completions: List[Completion] = []
        self.nr_futures = self.nr_puts = 0
        self.set_worker = Worker("kvshm-l2-set", self.complete)
        self.get_workers = [Worker("kvshm-l2-get", self.complete) for _ in self.readers]
        if not self.lookup.client.stats()["is_attached"]:
            log.warning("kvshm: no daemon: misses until one comes; `python -m kvshm doctor` looks for it")

    # ---- completions --------------------------------------------------------------------------

    def event_fd(self) -> int:
        return self.fd

    def complete(self, completion: Completion) -> None:
        with self.lock:
            self.completions.append(completion)
        os.eventfd_write(self.fd, 1)

    def drain_completions(self) -> List[Completion]:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            pass
        with self.lock:
            done, self.completions = self.completions, []
        return done

    def number(self) -> int:
        with self.lock:
            self.nr_futures += 1
            return self.nr_futures

    # ---- what LMCache asks for ------------------------------------------------------------------

    def submit_batch_exists(self, keys: List[str]) -> int:
        number = self.number()
        found = [False] * len(keys)
        try:
            for ns, places in self.lookup.groups(keys, range(len(keys))):
                for some in cut(places, PINNED):
                    self.look(ns, keys, some, found)
        except Error as error:
            self.complete((number, False, str(error), None))
            return number
        self.complete((number, True, "", found))
        return number

    def look(self, ns: Namespace, keys: List[str], places: List[int], found: List[bool]) -> None:
        for i, pin in zip(places, ns.acquire_loose([block_keys(keys[i], 1)[0] for i in places])):
            found[i] = pin.matched > 0
            self.looked_up(keys[i], pin)

    def looked_up(self, key: str, pin: Pin) -> None:
        pin.release()

    def submit_batch_get(self, keys: List[str], views: List[memoryview]) -> int:
        number = self.number()
        shares = [range(r, len(keys), len(self.readers)) for r in range(min(len(self.readers), len(keys)))]
        task = Get(number, keys, views, len(shares))
        if not shares:
            self.complete((number, True, "", []))
        for worker, names, places in zip(self.get_workers, self.readers, shares):
            worker.jobs.put((number, functools.partial(self.get_share, task, names, places)))
        return number

    def submit_batch_set(self, keys: List[str], views: List[memoryview]) -> int:
        number = self.number()
        self.set_worker.jobs.put((number, lambda: (number, *self.set(keys, views), None)))
        return number

    def submit_batch_delete(self, keys: List[str]) -> int:
        number = self.number()
        self.set_worker.jobs.put((number, lambda: (number, True, "", [self.delete(key) for key in keys])))
        return number

    def close(self) -> None:
        for worker in (self.set_worker, *self.get_workers):
            worker.stop()
        for names in (self.lookup, self.writer, *self.readers):
            names.client.close()
        os.close(self.fd)

    # ---- get ------------------------------------------------------------------------------------

    def parts(self, view: memoryview) -> List[memoryview]:
        return [view[at:at + self.part_bytes] for at in range(0, view.nbytes, self.part_bytes)]

    def get_share(self, task: Get, names: Names, places: Sequence[int]) -> Optional[Completion]:
        try:
            self.get(task, names, places)
        except Exception:               # what is left of the share is not loaded
            log.exception("kvshm: a share of a load failed")
        return task.end_share()

    def get(self, task: Get, names: Names, places: Sequence[int]) -> None:
        keys, views, loaded = task.keys, task.views, task.loaded
        for ns, mine in names.groups(keys, places):
            for some in cut([i for i in mine if views[i].nbytes <= self.part_bytes], PINNED):
                pins = ns.acquire_loose([block_keys(keys[i], 1)[0] for i in some])
                for i, ok in zip(some, copy_pins(pins, [views[i] for i in some], verify=self.verify)):
                    loaded[i] = ok
                for pin in pins:
                    pin.release()
            for i in mine:
                if views[i].nbytes > self.part_bytes:
                    parts = self.parts(views[i])
                    loaded[i] = self.load(ns.acquire(block_keys(keys[i], len(parts))), parts)

    def load(self, pin: Pin, parts: List[memoryview]) -> bool:
        """All of an object, of exactly this length, or nothing that counts."""
        with pin:
            if len(pin) != len(parts) or any(len(b) != part.nbytes for b, part in zip(pin, parts)):
                return False
            try:
                return pin.copy_to(parts, verify=self.verify) == len(parts)
            except ChecksumError:
                log.error("kvshm: a block does not have the checksum it was put with; it counts as not there")
                return False

    # ---- set, delete ------------------------------------------------------------------------------

    def set(self, keys: List[str], views: List[memoryview]) -> Tuple[bool, str]:
        wanted = 0
        sent: Set[int] = set()
        for ns, places in self.writer.groups(keys, range(len(keys))):
            for names, blocks, loose in self.puts(keys, views, places):
                wanted += len(names)
                self.nr_puts += 1
                if ns.put(names, blocks, loose=loose, tag=self.nr_puts, timeout=WAIT_S):
                    sent.add(self.nr_puts)
        kept = self.kept(sent)
        return (True, "") if kept == wanted else (False, f"kvshm: {wanted - kept} of {wanted} blocks were not kept")

    def puts(self, keys: List[str], views: List[memoryview],
             places: List[int]) -> Iterator[Tuple[List[bytes], List[memoryview], bool]]:
        """Keys, bytes, and whether they are loose blocks: short objects together, each long one alone."""
        for some in cut([i for i in places if views[i].nbytes <= self.part_bytes], SENT):
            yield [block_keys(keys[i], 1)[0] for i in some], [views[i] for i in some], True
        for i in places:
            if views[i].nbytes > self.part_bytes:
                parts = self.parts(views[i])
                yield block_keys(keys[i], len(parts)), parts, False

    def kept(self, sent: Set[int]) -> int:
        """Blocks of these puts that are in the cache now."""
        nr = 0
        while sent:
            done = [d for d in self.writer.client.poll(timeout=WAIT_S) if d.tag in sent]
            if not done:
                break                   # the daemon died, or hangs
            sent -= {d.tag for d in done}
            nr += sum(d.published + d.duplicate for d in done)
        return nr

    def delete(self, key: str) -> bool:
        """The object; if it is a chain, from its root on."""
        ns = self.writer.of(key)
        first, last = block_keys(key, 2)
        try:
            dropped = ns.drop(first) + ns.drop(last)
        except Error as error:
            log.warning("kvshm: not deleted: %s", error)
            return False
        return dropped > 0
