# SPDX-License-Identifier: Apache-2.0
"""share.py FILE - what the cache has of a file, and the rest into it

The file stands for a prompt and for its keys and values at once, as in chain.h: block i holds bytes, and
its key covers bytes 0 to the end of block i, as an engine's key covers tokens.
"""
import hashlib
import sys
from typing import List, Tuple

import kvshm

BLOCK = 65536


def chain_of(path: str) -> Tuple[List[bytes], List[bytes]]:
    """Full blocks of the file, and their keys: each is a digest of the one before and its own bytes."""
    with open(path, "rb") as f:
        data = f.read()
    blocks = [data[at:at + BLOCK] for at in range(0, len(data) - BLOCK + 1, BLOCK)]
    keys, parent = [], b"share.py"
    for block in blocks:
        parent = hashlib.sha256(parent + block).digest()
        keys.append(parent)
    return keys, blocks


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: share.py FILE", file=sys.stderr)
        return 2
    keys, blocks = chain_of(sys.argv[1])
    with kvshm.open(label="share.py") as client:
        ns = client.attach_ns(b"kvshm example share.py", b"bytes", BLOCK, 16, "example")
        with ns.acquire(keys) as pin:
            equal = all(memoryview(block) == blocks[i] for i, block in enumerate(pin))
            cached = len(pin)
        print(f"cached {cached} of {len(keys)} blocks, {'equal' if equal else 'WRONG'}")
        if cached < len(keys):
            parent = keys[cached - 1] if cached else None
            ns.put(keys[cached:], blocks[cached:], parent=parent, timeout=1.0)
            for done in client.poll(timeout=2.0):
                print(f"published {done.published} duplicate {done.duplicate} dropped {done.dropped}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
