# SPDX-License-Identifier: Apache-2.0
"""workers.py [PREFIX] - a scheduler that pins, and workers in processes of their own that read

The scheduler looks a prompt up, pins what is cached and sends each worker an export: some bytes.  A worker
pins the same blocks in its own name and copies them.  Either may die at any time.
"""
import hashlib
import multiprocessing
import sys
from typing import List, Tuple

import kvshm

BLOCK, NR, NR_WORKERS = 65536, 32, 2


def prompt(name: str) -> Tuple[List[bytes], List[bytes]]:
    keys = [hashlib.sha256(f"{name} {i}".encode()).digest() for i in range(NR)]
    return keys, [key * (BLOCK // 32) for key in keys]


def say(line: str) -> None:
    """In one piece: several processes write here."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def attach(client: kvshm.Client) -> kvshm.Namespace:
    return client.attach_ns(b"kvshm example workers.py", b"bytes", BLOCK, 16, "example")


def worker(number: int, data: bytes, name: str) -> None:
    """In a process of its own: it opens a client of its own, after the fork."""
    with kvshm.open(label=f"worker {number}") as client:
        try:
            pin = attach(client).import_pin(data)
        except kvshm.StaleError:
            say(f"worker {number}: the blocks are gone, they have to be computed")
            return
        with pin:
            mine = bytearray(len(pin) * BLOCK)
            pin.copy_to(mine)
    nr = len(mine) // BLOCK
    right = mine == b"".join(prompt(name)[1][NR - nr:])
    say(f"worker {number}: {nr} blocks, {'right' if right else 'WRONG'}")
    sys.exit(not right)


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else "a prompt"
    keys, blocks = prompt(name)
    with kvshm.open(label="scheduler") as client:
        ns = attach(client)
        ns.put(keys, blocks, timeout=2.0)
        client.poll(timeout=2.0)
        with ns.acquire(keys) as pin:
            say(f"scheduler: {len(pin)} of {NR} blocks cached")
            if not pin:
                return 0
            jobs = [multiprocessing.get_context("spawn").Process(target=worker, args=(n, pin.export(first=n), name))
                    for n in range(NR_WORKERS)]
            for job in jobs:
                job.start()
            for job in jobs:
                job.join()
    return any(job.exitcode for job in jobs)


if __name__ == "__main__":
    sys.exit(main())
