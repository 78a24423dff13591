#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `kvshm events` publishes, read by vLLM's own classes."""
import os
import subprocess
import tempfile
import time
import unittest

import vllmlib  # noqa: F401: sets up vLLM and the path
import msgspec
import zmq
from daemonlib import BUILD
from packagelib import TOKENS, WithDaemon, keys_of, put
from vllm.distributed.kv_events import MEDIUM_CPU, AllBlocksCleared, BlockRemoved, BlockStored, KVEventBatch, ZmqEventPublisher
from vllm.v1.core.kv_cache_utils import maybe_convert_block_hash


class Published(WithDaemon):
    def replay(self, endpoint):
        """All that was published, by vLLM's decoder."""
        s = zmq.Context.instance().socket(zmq.DEALER)
        s.setsockopt(zmq.LINGER, 0)
        s.connect(endpoint)
        s.send_multipart([b"", (0).to_bytes(8, "big")])
        decoder, events = msgspec.msgpack.Decoder(KVEventBatch), []
        while s.poll(30000):
            _, _, number, payload = s.recv_multipart()
            if number == ZmqEventPublisher.END_SEQ:
                break
            events += decoder.decode(payload).events
        s.close()
        return events

    def test_vllms_decoder_reads_every_event(self):
        keys = keys_of(1, 5)
        put(self.ns, 1, 5)
        with tempfile.TemporaryDirectory() as folder:
            replay = f"ipc://{folder}/replay"
            p = subprocess.Popen([os.path.join(BUILD, "kvshm"), "events", "-q", "--socket", self.daemon.socket,
                                  "--publish", f"ipc://{folder}/pub", "--replay", replay])
            try:
                events = self.until_removed(replay, keys)
            finally:
                p.terminate()
                self.assertEqual(p.wait(20), 0)
        hashes = [maybe_convert_block_hash(key) for key in keys]
        self.assertEqual(events[0], AllBlocksCleared())
        self.assertIsInstance(events[1], BlockStored)
        self.assertEqual((events[1].block_hashes, events[1].parent_block_hash, events[1].block_size, events[1].medium),
                         (hashes, None, TOKENS, MEDIUM_CPU))
        self.assertIsInstance(events[2], BlockRemoved)
        self.assertEqual(sorted(events[2].block_hashes), sorted(hashes[2:]))

    def until_removed(self, replay, keys):
        dropped, deadline = False, time.monotonic() + 60
        while time.monotonic() < deadline:
            events = self.replay(replay)
            if len(events) >= 3:
                return events
            if len(events) == 2 and not dropped:
                dropped = True
                self.ns.drop(keys[2])
        raise AssertionError(events)


if __name__ == "__main__":
    unittest.main(verbosity=2)
