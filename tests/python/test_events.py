#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kvshm events, seen by a subscriber as routers have it: ZeroMQ and msgpack, replay, lines of JSON.

A follower keeps what the messages say the node holds and checks each of them against that: numbers without a gap,
parents before children, nothing stored twice, nothing removed that is not there.
"""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

from packagelib import BLOCK, TOKENS, WithDaemon, attach, keys_of, need, put, until

need("zmq", "msgpack")
import msgpack  # noqa: E402
import zmq  # noqa: E402

from daemonlib import BUILD  # noqa: E402

KVSHM = os.path.join(BUILD, "kvshm")
END = b"\xff" * 8
RING = 65536
HEADER, EVENT = 128, 64


class Held:
    """What the node holds by the messages so far."""

    def __init__(self, case):
        self.case, self.keys, self.number, self.incarnation = case, {}, None, 0
        self.reasons, self.stored, self.removed = [], 0, 0

    def take(self, number, event):
        if event["type"] == "AllBlocksCleared":
            self.keys.clear()
            self.reasons.append(event["reason"])
        elif event["type"] == "BlockStored":
            self.take_stored(event)
        else:
            self.case.assertEqual(event["type"], "BlockRemoved")
            self.case.assertEqual(event["medium"], "CPU")
            for key in event["block_hashes"]:
                del self.keys[event["namespace"], key]
                self.removed += 1

    def take_stored(self, event):
        parent, ns = event["parent_block_hash"], event["namespace"]
        self.case.assertEqual((event["medium"], event["block_size"], event["token_ids"]), ("CPU", TOKENS, []))
        self.case.assertEqual(event["block_bytes"], BLOCK)
        for key in event["block_hashes"]:
            self.case.assertNotIn((ns, key), self.keys)
            if parent is not None:
                self.case.assertIn((ns, parent), self.keys)
            self.keys[ns, key] = parent
            parent = key
            self.stored += 1

    def message(self, number, events, incarnation):
        if self.number is not None:
            self.case.assertEqual(number, self.number + 1)
        self.case.assertGreaterEqual(incarnation, self.incarnation)
        self.number, self.incarnation = number, incarnation
        for event in events:
            self.take(number, event)

    def hashes(self):
        return {key for _, key in self.keys}


class Subscriber(Held):
    def __init__(self, case, context, endpoint=None, topic=b""):
        super().__init__(case)
        self.topic = topic
        self.socket = context.socket(zmq.SUB)
        case.addCleanup(self.socket.close)
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.setsockopt(zmq.SUBSCRIBE, topic)
        if endpoint:
            self.socket.connect(endpoint)

    def parts(self, topic, number, payload):
        self.case.assertEqual((topic, len(number)), (self.topic, 8))
        ts, events, rank = msgpack.unpackb(payload)
        self.case.assertLess(abs(time.time() - ts), 300)
        self.case.assertEqual(rank, 0)
        incarnations = {event["incarnation"] for event in events}
        self.case.assertEqual(len(incarnations), 1)
        self.message(struct.unpack(">Q", number)[0], events, incarnations.pop())

    def hear(self):
        while self.socket.poll(5):
            self.parts(*self.socket.recv_multipart())
        return self

    def until(self, look):
        """True as soon as it is true of what was heard."""
        return until(lambda: look(self.hear()), 30)


def ask(context, endpoint, number):
    """A replay: messages as (topic, number, payload), up to the end."""
    s = context.socket(zmq.DEALER)
    s.setsockopt(zmq.LINGER, 0)
    s.setsockopt(zmq.RCVHWM, 0)
    s.connect(endpoint)
    s.send_multipart([b"", struct.pack(">Q", number)])
    got = []
    while s.poll(30000):
        empty, *parts = s.recv_multipart()
        assert empty == b""
        if parts[1] == END:
            s.close()
            return got
        got.append(parts)
    raise AssertionError("the replay has no end")


class Events(WithDaemon):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="kvshm-test.")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.pub, self.replay = (f"ipc://{self.folder}/{name}" for name in ("pub", "replay"))
        self.context = zmq.Context()
        self.addCleanup(self.context.destroy, 0)

    def publish(self, *options, wait="started"):
        self.log = os.path.join(self.folder, "log")
        with open(self.log, "w") as log:
            p = subprocess.Popen([KVSHM, "events", "--socket", self.daemon.socket, *options],
                                 stdout=subprocess.PIPE, stderr=log, text=True)
        self.addCleanup(p.wait, 20)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.kill)
        if wait:
            self.wait_said(wait)
        return p

    def wait_said(self, text):
        def said():
            with open(self.log) as f:
                return text in f.read()
        self.assertTrue(until(said, 30), text)

    def start(self, *options, wait="started"):
        return self.publish("--publish", self.pub, "--replay", self.replay, "--whole-hashes", *options, wait=wait)

    def subscribe(self, at_least=0):
        """A subscriber that has made up for what it missed: what is heard twice is left out, as routers do."""
        s = Subscriber(self, self.context, self.pub)
        # It hears something only after its subscription has come through.
        probe = 10_000
        def heard():
            nonlocal probe
            probe += 1
            put(self.ns, probe, 1)
            return s.socket.poll(20)
        self.assertTrue(until(heard, 30))
        first = s.socket.recv_multipart()
        for parts in ask(self.context, self.replay, 0):
            if struct.unpack(">Q", parts[1])[0] < struct.unpack(">Q", first[1])[0]:
                s.parts(*parts)
        s.parts(*first)
        return s

    # ---- what is published -------------------------------------------------------------------

    def test_a_subscriber_sees_what_a_client_puts_and_drops(self):
        put(self.ns, 1, 5)
        self.start()
        s = self.subscribe()
        self.assertEqual(s.reasons, ["started"])
        self.assertLessEqual(set(keys_of(1, 5)), s.hashes())
        put(self.ns, 2, 40)
        self.assertTrue(s.until(lambda held: set(keys_of(2, 40)) <= held.hashes()))
        self.assertEqual(s.keys[next(ns for ns, _ in s.keys), keys_of(2, 40)[7]], keys_of(2, 40)[6])
        self.ns.drop(keys_of(1, 5)[2])
        self.assertTrue(s.until(lambda held: not set(keys_of(1, 5)[2:]) & held.hashes()))
        self.assertLessEqual(set(keys_of(1, 5)[:2]), s.hashes())
        self.ns.drop()
        self.assertTrue(s.until(lambda held: not held.keys))

    def test_what_is_evicted_is_removed(self):
        self.start()
        s = self.subscribe()
        for chain in range(40):
            put(self.ns, 100 + chain, 60)       # more than the arena
        self.assertTrue(s.until(lambda held: held.removed > 500))
        last = set(keys_of(139, 60))
        self.assertTrue(s.until(lambda held: last <= held.hashes()))
        found = 0
        for chain in range(40):
            keys = keys_of(100 + chain, 60)
            with self.ns.acquire(keys) as pin:
                self.assertTrue(s.until(lambda held: len(held.hashes() & set(keys)) == len(pin)))
                found += len(pin)
        self.assertGreater(found, 500)

    def test_hashes_are_numbers_as_vllm_has_them_unless_asked_otherwise(self):
        self.publish("--publish", self.pub, "--replay", self.replay, "--topic", "kv@here@model", "--rank", "3")
        put(self.ns, 1, 3)
        want = [int.from_bytes(key, "big") & (1 << 64) - 1 for key in keys_of(1, 3)]
        def all_parts():
            parts = ask(self.context, self.replay, 0)
            return len(parts) > 1 and parts
        parts = until(all_parts)
        self.assertTrue(all(p[0] == b"kv@here@model" for p in parts))
        batches = [msgpack.unpackb(p[2]) for p in parts]
        self.assertEqual({b[2] for b in batches}, {3})
        stored = [e for b in batches for e in b[1] if e["type"] == "BlockStored"]
        self.assertEqual([h for e in stored for h in e["block_hashes"]], want)
        self.assertIsNone(stored[0]["parent_block_hash"])
        # Every field of vLLM's class that has no default.
        self.assertLessEqual({"block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium",
                              "lora_name"}, set(stored[0]))

    def test_a_namespace_can_be_chosen(self):
        other = attach(self.client, b"other model")
        put(self.ns, 1, 2)
        put(other, 2, 3)
        whole = self.once()
        names = {e["namespace"]: len(e["block_hashes"]) for e in whole if e["type"] == "BlockStored"}
        self.assertEqual(sorted(names.values()), [2, 3])
        for name, nr in names.items():
            some = self.once("--namespace", name[:20])
            self.assertEqual([len(e["block_hashes"]) for e in some if e["type"] == "BlockStored"], [nr])
        self.assertEqual(self.status("--namespace", "tests"), 2)

    def once(self, *options):
        out = subprocess.run([KVSHM, "events", "--once", "--socket", self.daemon.socket, *options], check=True,
                             capture_output=True, text=True, timeout=30).stdout
        return [event for line in out.splitlines() for event in json.loads(line)["events"]]

    def status(self, *options):
        return subprocess.run([KVSHM, "events", "--socket", self.daemon.socket, *options], capture_output=True,
                              timeout=30).returncode

    # ---- replay ------------------------------------------------------------------------------

    def test_who_was_away_gets_the_messages_that_were_missed(self):
        self.start()
        s = self.subscribe()
        s.socket.close()
        for chain in range(5):
            put(self.ns, chain, 3)
            self.assertTrue(until(lambda: set(keys_of(chain, 3)) <= self.all_told()))
        missed = ask(self.context, self.replay, s.number + 1)
        self.assertGreaterEqual(len(missed), 5)
        for parts in missed:
            s.parts(*parts)
        self.assertLessEqual(set(keys_of(4, 3)), s.hashes())
        self.assertEqual(ask(self.context, self.replay, s.number + 1), [])

    def all_told(self):
        held = Subscriber(self, self.context, self.pub)
        held.socket.close()
        for parts in ask(self.context, self.replay, 0):
            held.parts(*parts)
        return held.hashes()

    def test_who_was_away_for_too_long_gets_all_there_is(self):
        self.start("--keep", "2")
        for chain in range(6):
            put(self.ns, chain, 3)
            self.assertTrue(until(lambda: set(keys_of(chain, 3)) <= self.all_told()))
        [parts] = ask(self.context, self.replay, 0)
        s = Subscriber(self, self.context, self.pub)
        s.parts(*parts)
        self.assertEqual(s.reasons, ["asked"])
        self.assertEqual(s.hashes(), {key for chain in range(6) for key in keys_of(chain, 3)})
        self.assertEqual([struct.unpack(">Q", p[1])[0] for p in ask(self.context, self.replay, s.number)], [s.number])

    def test_what_is_no_request_is_not_answered_and_harms_nobody(self):
        put(self.ns, 1, 3)
        self.start()
        s = self.context.socket(zmq.DEALER)
        self.addCleanup(s.close)
        s.setsockopt(zmq.LINGER, 0)
        s.connect(self.replay)
        for bad in ([b""], [b"", b""], [b"", b"1234567"], [b"", b"123456789"], [b"x", b"\0" * 8], [b"", b"\0" * 8, b""],
                    [b"y" * 100_000] * 3):
            s.send_multipart(bad)
        self.assertEqual(len(ask(self.context, self.replay, 0)), 1)
        self.assertFalse(s.poll(0))

    def test_numbers_past_the_last_have_no_messages(self):
        self.start()
        self.assertEqual(ask(self.context, self.replay, 1 << 63), [])
        self.assertEqual(ask(self.context, self.replay, (1 << 64) - 1), [])

    # ---- what goes wrong ---------------------------------------------------------------------

    def test_another_daemon_is_another_incarnation_and_all_is_told_anew(self):
        put(self.ns, 1, 5)
        self.start()
        s = self.subscribe()
        before, held = s.incarnation, s.hashes()
        self.daemon.kill()
        self.daemon.start()
        self.assertTrue(s.until(lambda h: h.reasons == ["started", "restarted"]))
        self.assertGreater(s.incarnation, before)
        self.assertTrue(s.until(lambda h: h.hashes() == held))
        until(lambda: put(self.ns, 2, 5, wait=False))
        self.assertTrue(s.until(lambda h: keys_of(2, 1)[0] in h.hashes()))

    def test_it_waits_for_a_daemon_that_is_not_there_yet(self):
        self.daemon.kill()
        for name in ("stats", "events"):
            os.unlink(os.path.join(self.daemon.dir, name))
        self.assertEqual(self.status("--once"), 1)
        self.start(wait=None)
        self.assertEqual(ask(self.context, self.replay, 0), [])
        self.daemon.start()
        self.wait_said("started")

    def ring(self):
        """Number of the daemon's next event."""
        with open(os.path.join(self.daemon.dir, "events"), "rb") as f:
            return struct.unpack_from("<Q", f.read(HEADER), 64)[0]

    def test_a_ring_that_went_round_is_announced_and_the_daemon_did_not_wait(self):
        keys = keys_of(1, 4)
        put(self.ns, 1, 4)
        publisher = self.start()
        s = self.subscribe()
        publisher.send_signal(signal.SIGSTOP)
        before = self.ring()
        put(self.ns, 2, 4)
        self.ns.drop(keys[3])
        def goes_round():
            for _ in range(2000):
                self.ns.acquire(keys[:3]).release()
            return self.ring() > before + RING + 1
        self.assertTrue(until(goes_round, 60))
        publisher.send_signal(signal.SIGCONT)
        self.assertTrue(s.until(lambda h: "lost" in h.reasons))
        self.assertTrue(s.until(lambda h: set(keys[:3] + keys_of(2, 4)) <= h.hashes()))
        self.assertNotIn(keys[3], s.hashes())

    def test_a_ring_full_of_nonsense_is_survived(self):
        put(self.ns, 1, 4)
        publisher = self.start()
        s = self.subscribe()
        first, kind = self.ring(), 0
        def scribble():
            nonlocal kind
            kind += 1
            with open(os.path.join(self.daemon.dir, "events"), "r+b") as f:
                for i in range(first, first + 200):
                    junk = bytearray(os.urandom(EVENT))
                    struct.pack_into("<Q", junk, 0, i + 1)
                    junk[52] = kind % 6
                    if kind & 8:
                        struct.pack_into("<I", junk, 56, i % 20)        # a block that may be there
                    f.seek(HEADER + i % RING * EVENT)
                    f.write(junk)
                f.seek(64)
                f.write(struct.pack("<Q", (first + 200, 1 << 40, (1 << 64) - 1, 0)[kind % 4]))
            with open(self.log) as f:
                return kind > 300 and "no daemon writes" in f.read()
        self.assertTrue(until(scribble, 60))
        put(self.ns, 2, 4)
        self.assertTrue(s.until(lambda h: set(keys_of(1, 4) + keys_of(2, 4)) <= h.hashes()))
        self.assertIsNone(publisher.poll())
        publisher.terminate()
        self.assertEqual(publisher.wait(20), 0)

    # ---- lines -------------------------------------------------------------------------------

    def lines(self, held, f):
        message = json.loads(f.readline())
        self.assertEqual(message["schema"], "kvshm.events/1")
        held.message(message["seq"], message["events"], message["incarnation"])
        return held

    def hexes(self, chain, nr):
        return {key.hex() for key in keys_of(chain, nr)}

    def test_stdout_gets_lines_of_json(self):
        put(self.ns, 1, 3)
        publisher = self.publish()
        held = Held(self)
        self.assertEqual(self.lines(held, publisher.stdout).hashes(), self.hexes(1, 3))
        self.ns.drop()
        self.assertTrue(until(lambda: not self.lines(held, publisher.stdout).keys))
        publisher.terminate()
        self.assertEqual(publisher.wait(20), 0)

    def test_who_connects_to_the_socket_of_lines_begins_with_all_there_is(self):
        put(self.ns, 1, 3)
        where = os.path.join(self.folder, "lines")
        publisher = self.publish("--lines", where)
        self.assertEqual(os.stat(where).st_mode & 0o777, 0o660)
        followers = []
        for _ in range(2):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(30)
            s.connect(where)
            followers.append((Held(self), s.makefile()))
            self.addCleanup(s.close)
            self.addCleanup(followers[-1][1].close)
            self.assertEqual(self.lines(*followers[-1]).hashes(), self.hexes(1, 3))
        put(self.ns, 2, 2)
        for held, f in followers:
            self.assertEqual(held.reasons, ["asked"])
            self.assertTrue(until(lambda: self.lines(held, f).hashes() == self.hexes(1, 3) | self.hexes(2, 2)))
        publisher.terminate()
        self.assertEqual(publisher.wait(20), 0)
        self.assertFalse(os.path.exists(where))

    def test_a_hangup_signal_tells_all_anew(self):
        put(self.ns, 1, 3)
        publisher = self.start()
        s = self.subscribe()
        publisher.send_signal(signal.SIGHUP)
        self.assertTrue(s.until(lambda h: h.reasons == ["started", "asked"]))
        self.assertTrue(s.until(lambda h: set(keys_of(1, 3)) <= h.hashes()))

    def test_a_subscriber_is_greeted_if_asked_for(self):
        put(self.ns, 1, 3)
        self.start("--greet")
        s = Subscriber(self, self.context, self.pub)
        self.assertTrue(s.until(lambda h: h.reasons == ["greeting"] and h.hashes() == set(keys_of(1, 3))))

    def test_it_publishes_to_a_router_that_listens(self):
        put(self.ns, 1, 3)
        s = Subscriber(self, self.context)
        s.socket.bind(self.pub)
        self.publish("--connect", self.pub, "--whole-hashes", "--greet")
        self.assertTrue(s.until(lambda h: set(keys_of(1, 3)) <= h.hashes()))
        put(self.ns, 2, 3)
        self.assertTrue(s.until(lambda h: set(keys_of(2, 3)) <= h.hashes()))

    def test_a_place_that_is_none_is_refused(self):
        self.assertEqual(self.status("--publish", "nowhere"), 2)
        self.assertEqual(self.status("--publish", "carrier-pigeon://roof"), 2)
        self.assertEqual(self.status("--replay", self.replay), 2)
        self.assertEqual(self.status("--lines", "/nonexistent/lines"), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
