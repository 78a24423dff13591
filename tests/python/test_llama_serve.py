#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=300
"""Two OpenAI-compatible servers of a node share their prompts; bad requests and lost clients harm nobody."""
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from daemonlib import KVSHMD, Daemon

LLAMA = os.path.join(os.path.dirname(KVSHMD), "kvshm-llama")
TEXT = "".join(open(os.path.join(os.path.dirname(__file__), "../../LICENSE"), encoding="utf-8"))[:2200]
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Server:
    def __init__(self, daemon_socket, address="0"):
        self.log = tempfile.NamedTemporaryFile("w+", prefix="kvshm-llama.")
        self.process = subprocess.Popen([LLAMA, "--serve", address, "--socket", daemon_socket],
                                        stderr=self.log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while "listening at " not in self.said():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("no server: " + self.said())
            time.sleep(0.02)
        self.name = self.said().split("listening at ")[1].split()[0]

    def said(self):
        with open(self.log.name, encoding="utf-8") as f:
            return f.read()

    def connection(self, timeout=120):
        if self.name.startswith("unix:"):
            return UnixConnection(self.name[5:], timeout)
        return http.client.HTTPConnection(self.name.removeprefix("http://"), timeout=timeout)

    def request(self, method, path, body=None):
        with contextlib.closing(self.connection()) as c:
            c.request(method, path, body if body is None or isinstance(body, (str, bytes)) else json.dumps(body))
            r = c.getresponse()
            return r.status, r.read().decode()

    def ask(self, path, **body):
        status, text = self.request("POST", path, {"temperature": 0, "max_tokens": 8} | body)
        if status != 200:
            raise AssertionError(f"{status}: {text}")
        return json.loads(text)

    def ask_and_save(self, path, **body):
        """Saved once the log has a line about the answer: the reply does not wait for that."""
        reply = self.ask(path, **body)
        deadline = time.monotonic() + 60
        while reply["id"] + " prompt" not in self.said():
            if time.monotonic() > deadline:
                raise AssertionError("not saved: " + self.said())
            time.sleep(0.01)
        return reply

    def stop(self):
        self.process.terminate()
        status = self.process.wait(timeout=30)
        self.log.close()
        return status


def turn(role, content):
    return {"role": role, "content": content}


def text_of(reply):
    choice = reply["choices"][0]
    return choice["text"] if "text" in choice else choice["message"]["content"]


def cached(reply):
    return reply["usage"]["prompt_tokens_details"]["cached_tokens"]


class Serve(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--size", "256M")
        cls.unix = os.path.join(cls.daemon.dir, "llama.sock")
        cls.a, cls.b = Server(cls.daemon.socket), Server(cls.daemon.socket, "unix:" + cls.unix)

    @classmethod
    def tearDownClass(cls):
        statuses = [cls.a.stop(), cls.b.stop(), cls.daemon.stop()]
        assert statuses == [0, 0, 0], statuses

    def test_a_second_server_takes_the_prompt_from_the_cache_and_answers_alike(self):
        chat = [turn("system", "You are brief."), turn("user", TEXT + "\nWhat is this?")]
        first = self.a.ask_and_save(CHAT, messages=chat)
        second = self.b.ask_and_save(CHAT, messages=chat)
        self.assertGreaterEqual(cached(second), 0.9 * second["usage"]["prompt_tokens"])
        self.assertEqual(text_of(second), text_of(first))
        # and the next turn finds the last with its answer, as far as whole blocks go
        chat += [turn("assistant", text_of(first)), turn("user", "Say it again.")]
        third = self.b.ask(CHAT, messages=chat)
        self.assertGreaterEqual(cached(third), second["usage"]["prompt_tokens"] - 32)

    def test_a_stream_has_the_text_of_a_whole_answer_its_usage_and_an_end(self):
        whole = self.a.ask(CHAT, messages=[turn("user", "Count to five.")])
        status, body = self.b.request("POST", CHAT, {
            "messages": [turn("user", "Count to five.")], "temperature": 0, "max_tokens": 8, "stream": True,
            "stream_options": {"include_usage": True}})
        self.assertEqual(status, 200)
        events = [e.removeprefix("data: ") for e in body.strip().split("\n\n")]
        self.assertEqual(events.pop(), "[DONE]")
        events = [json.loads(e) for e in events]
        self.assertEqual(events[-1]["usage"]["completion_tokens"], whole["usage"]["completion_tokens"])
        choices = [c for e in events for c in e["choices"]]
        self.assertEqual(choices[0]["delta"]["role"], "assistant")
        self.assertEqual("".join(c["delta"].get("content", "") for c in choices), text_of(whole))
        self.assertEqual([c["finish_reason"] for c in choices][-1], whole["choices"][0]["finish_reason"])

    def test_a_stop_text_ends_an_answer_and_is_not_part_of_it(self):
        whole = text_of(self.a.ask(COMPLETIONS, prompt="One, two, three, four,", max_tokens=12))
        stop = whole[4:7]
        cut = self.a.ask(COMPLETIONS, prompt="One, two, three, four,", max_tokens=12, stop=["never there", stop])
        self.assertEqual(text_of(cut), whole[:whole.index(stop)])
        self.assertEqual(cut["choices"][0]["finish_reason"], "stop")

    def test_one_seed_gives_one_text(self):
        texts = [text_of(s.ask(COMPLETIONS, prompt="The", temperature=1.5, seed=seed, max_tokens=16))
                 for s, seed in ((self.a, 1), (self.b, 1), (self.a, 2))]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_what_a_user_wrote_cannot_end_its_turn(self):
        mark, plain = (self.a.ask(CHAT, messages=[turn("user", text)], max_tokens=1)["usage"]["prompt_tokens"]
                       for text in ("<|im_end|>", "x"))
        self.assertGreater(mark, plain + 2)         # spelled out, not the one token that it looks like

    def test_parts_of_a_message_are_joined(self):
        whole, parts = (self.a.ask(CHAT, messages=[turn("user", c)]) for c in (
            "Say yes.", [{"type": "text", "text": "Say "}, {"type": "text", "text": "yes."}]))
        self.assertEqual(whole["usage"], parts["usage"] | {"prompt_tokens_details": whole["usage"]["prompt_tokens_details"]})
        self.assertEqual(text_of(whole), text_of(parts))

    def test_bad_requests_are_refused_by_name(self):
        user = [turn("user", "x")]
        for path, body, word in (
                (CHAT, "", "JSON"), (CHAT, "{", "JSON"), (CHAT, "[]", "JSON"), (CHAT, {}, "messages"),
                (CHAT, {"messages": []}, "messages"), (CHAT, {"messages": "x"}, "messages"),
                (CHAT, {"messages": [{"role": "user"}]}, "content"), (CHAT, {"messages": [1]}, "role"),
                (CHAT, {"messages": [turn("<|im_end|>", "x")]}, "role"),
                (CHAT, {"messages": [turn("user", [{"type": "image_url"}])]}, "not text"),
                (CHAT, {"messages": user, "n": 2}, "n "), (CHAT, {"messages": user, "temperature": -1}, "temperature"),
                (CHAT, {"messages": user, "temperature": "hot"}, "temperature"),
                (CHAT, {"messages": user, "top_p": 2}, "top_p"), (CHAT, {"messages": user, "max_tokens": 0}, "max_tokens"),
                (CHAT, {"messages": user, "max_tokens": 1.5}, "max_tokens"),
                (CHAT, {"messages": user, "max_tokens": 100000}, "do not fit"),
                (CHAT, {"messages": user, "stream": 1}, "stream"), (CHAT, {"messages": user, "stop": ""}, "stop"),
                (CHAT, {"messages": user, "stop": ["a"] * 5}, "stop"), (CHAT, {"messages": user, "tools": [{}]}, "tools"),
                (CHAT, {"messages": user, "logprobs": True}, "logprobs"), (COMPLETIONS, {"prompt": 7}, "prompt"),
                (COMPLETIONS, {"prompt": ["a", "b"]}, "prompt"), (COMPLETIONS, {"prompt": "a\0b"}, "u0000"),
                (COMPLETIONS, {"prompt": "word " * 9000}, "does not fit")):
            with self.subTest(body=str(body)[:60]):
                status, text = self.a.request("POST", path, body)
                self.assertEqual(status, 400, text)
                self.assertIn(word, json.loads(text)["error"]["message"])
        for method, path, status in (("GET", "/nothing", 404), ("GET", CHAT, 405), ("POST", "/health", 405)):
            self.assertEqual(self.a.request(method, path)[0], status)
        self.assertEqual(self.a.request("POST", CHAT, b"x" * (17 << 20))[0], 413)
        self.assertEqual(json.loads(self.a.request("GET", "/health")[1]), {"status": "ok"})
        self.assertEqual(len(json.loads(self.a.request("GET", "/v1/models")[1])["data"]), 1)

    def test_clients_that_go_away_give_their_turn_back(self):
        for cut in range(20):                           # many: an abort inside a graph hung the model now and then
            c = self.a.connection()
            c.request("POST", COMPLETIONS, json.dumps({"prompt": f"On and on {cut}", "max_tokens": 8000, "stream": True}))
            self.assertTrue(c.getresponse().read(16))
            c.sock.close()
            c.close()
            start = time.monotonic()
            self.a.ask(COMPLETIONS, prompt="Next", max_tokens=1)
            self.assertLess(time.monotonic() - start, 60)   # 8,000 tokens take minutes
        self.assertEqual(self.a.said().count("cut short"), cut + 1)

    def test_clients_are_answered_in_turn(self):
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(contextlib.closing(self.a.connection())) for _ in range(3)]
            for c in connections:
                c.request("POST", COMPLETIONS, json.dumps({"prompt": "Hello", "max_tokens": 4, "temperature": 0}))
            texts = {text_of(json.loads(c.getresponse().read())) for c in connections}
        self.assertEqual(len(texts), 1)

    def test_an_address_that_is_none_is_a_usage_error_and_a_taken_one_an_error(self):
        for address, status in (("nonsense", 2), ("unix:", 2), ("127.0.0.1:x", 2), ("unix:" + self.unix, 1)):
            p = subprocess.run([LLAMA, "--serve", address, "--no-cache"], capture_output=True, text=True, timeout=60)
            self.assertEqual(p.returncode, status, p.stderr)
            self.assertIn("--serve", p.stderr)


class WithoutDaemon(unittest.TestCase):
    def test_a_daemon_that_comes_late_is_found_and_one_that_dies_is_not_missed(self):
        daemon = Daemon("--size", "256M")
        daemon.kill()
        os.unlink(daemon.socket)
        server = Server(daemon.socket)
        prompt = {"prompt": TEXT, "max_tokens": 2}
        alone = server.ask(COMPLETIONS, **prompt)
        self.assertEqual(cached(alone), 0)
        daemon.start()
        deadline = time.monotonic() + 60
        while not cached(server.ask(COMPLETIONS, **prompt)):
            self.assertLess(time.monotonic(), deadline)
        daemon.kill()
        dead = server.ask(COMPLETIONS, **prompt)
        self.assertGreater(cached(dead), 0)
        self.assertEqual(text_of(dead), text_of(alone))
        daemon.start()
        self.assertEqual(server.stop(), 0)
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    if not os.access(LLAMA, os.X_OK):
        print(f"no {LLAMA}: make setup could not fetch the engine, or it is not built for this sanitizer")
        sys.exit(77)
    if "avx2" not in open("/proc/cpuinfo", encoding="utf-8").read():
        print("the prebuilt libllama needs AVX2")
        sys.exit(77)
    unittest.main()
