# SPDX-License-Identifier: Apache-2.0
"""keys.py - the keys of a request's blocks

As a rule they are vLLM's block hashes, in the list where vLLM keeps them.  Others
are made where those do not do: 16-byte hashes (xxhash), and requests with a LoRA adapter, of which
vLLM's hash has only the name, which in another engine may stand for other weights.
"""
import hashlib
import os
from functools import lru_cache
from typing import Any, Dict, List, Optional

from ..facts import digest, files_digest

KEY_LEN = 32


@lru_cache(maxsize=256)
def adapter_salt(path: str) -> bytes:
    """Of the adapter's weights; a path that is no local one names itself."""
    return digest((os.path.exists(path) and files_digest(path)) or path)


class Keys:
    """The keys of one request, root first."""

    __slots__ = ("_request", "_salt", "_made")

    def __init__(self, request: Any) -> None:
        lora = request.lora_request
        self._request = request
        self._salt: Optional[bytes] = adapter_salt(lora.lora_path) if lora else None
        self._made: Dict[bytes, bytes] = {}

    def __call__(self) -> List[bytes]:
        """As many as there are full blocks now; a session that goes on in another way has had others before."""
        hashes: List[bytes] = self._request.block_hashes
        if self._salt is None and (not hashes or len(hashes[0]) == KEY_LEN):
            return hashes
        return [self._made.get(block_hash) or self._make(block_hash) for block_hash in hashes]

    def _make(self, block_hash: bytes) -> bytes:
        key = self._made[block_hash] = hashlib.sha256((self._salt or b"") + block_hash).digest()
        return key
