# SPDX-License-Identifier: Apache-2.0
"""kvshm - the node's KV cache, from Python

    client = kvshm.open()
    ns = client.attach_ns(fingerprint, layout, block_len, block_tokens)
    with ns.acquire(keys) as pin:           # the longest cached prefix, pinned
        for block in pin:                   # read-only buffers in the cache itself
            use(memoryview(block))
    ns.put(keys, blocks)                    # copies in, without the GIL

Finding, pinning and reading send no message and enter no kernel, also while the daemon is dead.  What
cannot be looked up is a miss, what cannot be put is dropped and counted; only wrong use raises.
"""
from ._kvshm import (ABI, Block, ChecksumError, Client, Completion, DeviceError, Error, ForkError, Gpu, Grant, Job,
                     LayoutError, Namespace, NoDaemonError, Pages, Pin, StaleError, __version__, acquire_group,
                     checksum, copy_pins, load_runs, save_runs)
from .hints import hint
from .views import numpy_view, torch_view

__all__ = [
    "ABI", "Block", "ChecksumError", "Client", "Completion", "DeviceError", "Error", "ForkError", "Gpu", "Grant", "Job",
    "LayoutError", "Namespace", "NoDaemonError", "Pages", "Pin", "StaleError", "__version__",
    "acquire_group", "checksum", "copy_pins", "hint", "load_runs", "numpy_view", "open", "save_runs",
    "torch_view",
]

open = Client
