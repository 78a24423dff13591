# SPDX-License-Identifier: Apache-2.0
"""store.py - the pages of one host pool as blocks of one namespace

Pages of a prompt are a chain, so that the ends of prompts are evicted before their beginnings, and one
pin holds all that is copied.  SGLang asks for what it has not itself, so keys may begin anywhere in a
chain.  A chain may also have a seam: if the page before was not in the cache when one was stored, because
the daemon was away or full, that one begins a chain of its own.  Where a stretch of keys does not hang
together its pages are pinned one by one.

Nothing is promised between count() and load().  What goes wrong here is a miss, told once.
"""
import errno
import itertools
import time
from typing import Any, Callable, List, Optional, Sequence, Tuple

import kvshm

from ..link import Link

KEY_LEN = 32
STRETCH = 128                       # keys of one pin
LOOSE = 16                          # pins at once
STAGED = 16                         # pages of one put of a client that is not trusted
GRANT_S = 2.0                       # for a batch to get empty blocks
ANSWER_S = 5.0                      # a commit without an answer for so long went down with its daemon

Runs = Tuple[Sequence[int], Sequence[int]]      # addresses and lengths, a page's one after the other


class Store:
    def __init__(self, reader: kvshm.Namespace, writer: kvshm.Namespace, pool: Any, page_len: int, link: Link) -> None:
        self.reader, self.writer, self.pool, self.page_len, self.link = reader, writer, pool, page_len, link
        self.is_trusted = True
        self.nr_commits = 0

    def runs(self, host_indices: Any) -> Runs:
        """Where the pages of these tokens lie now."""
        addresses, lengths = self.pool.get_page_buffer_meta(host_indices)
        return addresses, lengths

    def safely(self, what: str, work: Callable[[], int]) -> int:
        try:
            return work()
        except Exception as error:      # a cache does not end its engine
            self.link.failed(what, error)
            return 0

    # ---- look, load ----------------------------------------------------------------------------------
    def stretch(self, keys: bytes) -> List[kvshm.Pin]:
        """Pins of leading keys, as many as hang together and fit the quota; none: the first is not there."""
        pin = self.reader.acquire(keys[:STRETCH * KEY_LEN])
        if len(pin) == pin.matched:
            return [pin] if pin else []
        pin.release()
        pins = self.reader.acquire_loose(keys[:LOOSE * KEY_LEN])
        leading = list(itertools.takewhile(len, pins))
        for pin in pins[len(leading):]:
            pin.release()
        return leading

    def each_stretch(self, keys: bytes, use: Callable[[int, List[kvshm.Pin]], int]) -> int:
        """Give @use the pins from page number n on, until it takes none.  Return: pages that it took."""
        done, pins = 0, self.stretch(keys)
        while pins:
            there = sum(map(len, pins))
            taken = use(done, pins)
            for pin in pins:
                pin.release()
            done += taken
            if taken < there or done * KEY_LEN >= len(keys):
                break
            pins = self.stretch(keys[done * KEY_LEN:])
        return done

    def count(self, keys: bytes) -> int:
        """Leading keys that are there."""
        return self.safely("a look-up failed", lambda: self.each_stretch(keys, lambda _, pins: sum(map(len, pins))))

    def present(self, keys: bytes) -> List[bool]:
        """Of each key, for pages that are no prefix."""
        found: List[bool] = []

        def look() -> int:
            for at in range(0, len(keys), LOOSE * KEY_LEN):
                for pin in self.reader.acquire_loose(keys[at:at + LOOSE * KEY_LEN]):
                    found.append(pin.matched > 0)
                    pin.release()
            return len(found)

        self.safely("a look-up failed", look)
        return found + [False] * (len(keys) // KEY_LEN - len(found))

    def load(self, keys: bytes, runs: Runs) -> int:
        """Return: how many pages, from the first on, hold what they should."""
        return self.safely("a load failed", lambda: self.each_stretch(keys, self.loader(len(keys) // KEY_LEN, runs)))

    def loader(self, nr: int, runs: Runs) -> Callable[[int, List[kvshm.Pin]], int]:
        per = runs_a_page(nr, runs)

        def load(done: int, pins: List[kvshm.Pin]) -> int:
            blocks = list(itertools.takewhile(lambda b: len(b) == self.page_len, itertools.chain(*pins)))
            part = slice(done * per, (done + len(blocks)) * per)
            kvshm.load_runs(runs[0][part], runs[1][part], blocks)
            return len(blocks)

        return load

    # ---- save ----------------------------------------------------------------------------------------
    def save(self, keys: bytes, runs: Runs, parent: Optional[bytes]) -> int:
        """@parent: key of the page before; None: not known.  Return: pages, from the first on, that are there now."""
        return self.safely("a save failed", lambda: self.save_new(keys, runs, parent))

    def save_new(self, keys: bytes, runs: Runs, parent: Optional[bytes]) -> int:
        per = runs_a_page(len(keys) // KEY_LEN, runs)
        have = self.count(keys)
        if have:
            parent = keys[(have - 1) * KEY_LEN:have * KEY_LEN]
        rest = keys[have * KEY_LEN:]
        # held until all is done: else it might be evicted, and what was to stand on it with it
        held = self.writer.acquire_loose(parent) if parent else []
        try:
            if not any(pin.matched for pin in held):
                parent = None
            commits = self.send_all(rest, (runs[0][have * per:], runs[1][have * per:]), per, parent)
            return have + self.answers(commits)
        finally:
            for pin in held:
                pin.release()

    def send_all(self, keys: bytes, runs: Runs, per: int, parent: Optional[bytes]) -> List[Tuple[int, int]]:
        """Return: number and pages of each commit that is on its way."""
        commits: List[Tuple[int, int]] = []
        deadline = time.monotonic() + GRANT_S
        while keys:
            nr = self.send(keys, runs, per, parent, max(0.0, deadline - time.monotonic()))
            if not nr:
                break
            commits.append((self.nr_commits, nr))
            parent, keys = keys[(nr - 1) * KEY_LEN:nr * KEY_LEN], keys[nr * KEY_LEN:]
            runs = runs[0][nr * per:], runs[1][nr * per:]
        return commits

    def send(self, keys: bytes, runs: Runs, per: int, parent: Optional[bytes], timeout: float) -> int:
        """Commit the first of them.  Return: how many."""
        self.nr_commits += 1
        if self.is_trusted:
            try:
                return self.send_in_place(keys, runs, per, parent, timeout)
            except kvshm.Error as error:
                if error.errno != errno.EPERM:
                    raise
                self.is_trusted = False
        return self.send_staged(keys, runs, per, parent, timeout)

    def send_in_place(self, keys: bytes, runs: Runs, per: int, parent: Optional[bytes], timeout: float) -> int:
        grants = self.writer.grant(len(keys) // KEY_LEN, timeout)
        nr = len(grants)
        kvshm.save_runs(runs[0][:nr * per], runs[1][:nr * per], grants)
        return nr if self.writer.commit(keys[:nr * KEY_LEN], grants, parent, tag=self.nr_commits) else 0

    def send_staged(self, keys: bytes, runs: Runs, per: int, parent: Optional[bytes], timeout: float) -> int:
        nr = min(len(keys) // KEY_LEN, STAGED)
        pages = [bytearray(self.page_len) for _ in range(nr)]
        kvshm.save_runs(runs[0][:nr * per], runs[1][:nr * per], pages)
        return nr if self.writer.put(keys[:nr * KEY_LEN], pages, parent, tag=self.nr_commits, timeout=timeout) else 0

    def answers(self, commits: List[Tuple[int, int]]) -> int:
        """Pages of these commits, from the first on, that are in the cache."""
        kept = {number: 0 for number, _ in commits}
        left = set(kept)
        while left:
            answers = self.writer.client.poll(timeout=ANSWER_S)
            if not answers:
                break                   # the daemon died, or hangs
            for answer in answers:
                if answer.tag in left:  # not a late one of a batch before
                    left.remove(answer.tag)
                    kept[answer.tag] = answer.published + answer.duplicate
        nr = 0
        for number, pages in commits:
            nr += kept[number]
            if kept[number] < pages:
                break
        return nr

    def drop(self) -> bool:
        """Forget all pages."""
        return self.safely("a drop failed", lambda: self.writer.drop() + 1) > 0


def runs_a_page(nr: int, runs: Runs) -> int:
    if not nr or len(runs[0]) % nr:
        raise ValueError(f"{len(runs[0])} runs of memory for {nr} pages")
    return len(runs[0]) // nr
