# SPDX-License-Identifier: Apache-2.0
"""facts.py - what makes KV bytes differ, as a name of 32 bytes; what is known of weights on disk"""
import hashlib
import json
import os
from typing import Any, Dict, List

SAMPLE, EVERY = 4096, 1 << 20           # bytes read of each so many
WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")


def digest(facts: Any) -> bytes:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).digest()


def _file_digest(path: str) -> List[Any]:
    """Size, time and samples all over: reading weights whole would take as long as loading them."""
    state, sha = os.stat(path), hashlib.sha256()
    with open(path, "rb") as f:
        for at in range(0, state.st_size, EVERY):
            f.seek(at)
            sha.update(f.read(SAMPLE))
        f.seek(max(0, state.st_size - SAMPLE))
        sha.update(f.read(SAMPLE))
    return [state.st_size, state.st_mtime_ns, sha.hexdigest()]


def files_digest(path: str) -> Dict[str, Any]:
    """The weights of a folder, or one file; not where they lie."""
    if os.path.isfile(path):
        return {"": _file_digest(path)}
    names = [name for name in sorted(os.listdir(path)) if name.endswith(WEIGHTS)]
    return {name: _file_digest(os.path.join(path, name)) for name in names}
