#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make demo: several real engines of a node answer questions about one long document.

The first computes the document's KV and publishes it, the others take it out of shared memory, also
with the daemon dead.  Each answer is held against one of an engine without any cache.  Everything
that is started here is ended here, also on Ctrl-C.  The last line is "demo: ok" or what failed.
"""

import argparse
import ctypes
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

DOCUMENT = "/usr/share/common-licenses/GPL-3"  # base-files: on every Debian
DOCUMENT_BYTES = 20000                         # some 4,400 tokens
QUESTIONS = [
    "What is the name of this license?",
    "Who wrote this license, and in which year?",
    "What does this license say about patents?",
]
MIN_DOCUMENT_TOKENS = 4000
MIN_CACHED = 0.95
MIN_SPEEDUP = 20.0
ENGINE_TIMEOUT_S = 400
PR_SET_PDEATHSIG = 1


class Failed(Exception):
    pass


class Interrupted(BaseException):
    """A signal; not an Exception, so that nothing on the way takes it for one."""

    def __init__(self, number):
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.status = 128 + number


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Demo:
    def __init__(self, build):
        self.build = build
        self.children = []
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.dir = tempfile.mkdtemp(prefix="kvshm-demo-", dir=memory)
        self.socket = os.path.join(self.dir, "kvshm.sock")
        self.env = dict(os.environ, KVSHM_SOCKET=self.socket)
        self.document = os.path.join(self.dir, "document.txt")
        self.daemon = None

    # ---- processes ---------------------------------------------------------------------------
    def program(self, name):
        path = os.path.join(self.build, name)
        if not os.access(path, os.X_OK):
            raise Failed(f"{path} is not there" + (
                ": make setup could not fetch the engine" if name == "kvshm-llama" else ""))
        return path

    def start(self, name, args, **kwargs):
        child = subprocess.Popen([self.program(name), *args], env=self.env, start_new_session=True,
                                 preexec_fn=die_with_parent, **kwargs)
        self.children.append(child)
        return child

    def end_all(self):
        for child in self.children:
            if child.poll() is None:
                child.terminate()
        for child in self.children:
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- the daemon --------------------------------------------------------------------------
    def serves(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            try:
                s.connect(self.socket)
            except OSError:
                return False
        return True

    def start_daemon(self, timeout_s=120):
        log = open(os.path.join(self.dir, "kvshmd.log"), "a", encoding="utf-8")
        self.daemon = self.start("kvshmd", ["--instance", "demo", "--socket", self.socket,
                                            "--dir", os.path.join(self.dir, "memory")],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        start = time.monotonic()
        while not self.serves():
            if self.daemon.poll() is not None:
                raise Failed("kvshmd did not start:\n" + self.daemon_log())
            if time.monotonic() - start > timeout_s:
                raise Failed(f"kvshmd did not serve within {timeout_s} s:\n" + self.daemon_log())
            time.sleep(0.02)
        return time.monotonic() - start

    def daemon_log(self):
        with open(os.path.join(self.dir, "kvshmd.log"), encoding="utf-8", errors="replace") as f:
            return "".join("  " + line for line in f)

    def kill_daemon(self):
        self.daemon.kill()
        self.daemon.wait()

    def stat(self):
        out = subprocess.run([self.program("kvshm"), "stat", "--socket", self.socket, "--json"],
                             env=self.env, stdout=subprocess.PIPE, timeout=30, check=False).stdout
        try:
            return json.loads(out)
        except ValueError as error:
            raise Failed("kvshm stat --json printed no JSON") from error

    # ---- engines -----------------------------------------------------------------------------
    def write_document(self):
        with open(DOCUMENT, encoding="utf-8") as f:
            text = f.read()
        end = text.rfind("\n\n", 0, DOCUMENT_BYTES)
        with open(self.document, "w", encoding="utf-8") as f:
            f.write(text[:end])

    def engine(self, question, *args):
        return self.start("kvshm-llama", ["--prompt-file", self.document, "--question", question,
                                          "--json", *args],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=open(os.path.join(self.dir, "engine.log"), "w", encoding="utf-8"))

    def engine_log(self):
        with open(os.path.join(self.dir, "engine.log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_ready(self, engine):
        end = time.monotonic() + 60
        while "kvshm-llama: ready" not in self.engine_log():
            if engine.poll() is not None or time.monotonic() > end:
                raise Failed("kvshm-llama did not get ready:\n" + self.engine_log())
            time.sleep(0.02)

    def result(self, engine, what, text=None):
        """Wait for an engine's answer, with a sign of life on a terminal."""
        start = time.monotonic()
        if text:
            engine.stdin.write(text.encode())
        engine.stdin.close()
        engine.stdin = None
        while True:
            try:
                out, _ = engine.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - start
                progress(f"  {what}: {seconds:.0f} s")
                if seconds > ENGINE_TIMEOUT_S:
                    raise Failed(f"{what}: no answer within {ENGINE_TIMEOUT_S} s") from None
        progress("")
        if engine.returncode:
            raise Failed(f"{what}: kvshm-llama failed with status {engine.returncode}:\n"
                         + self.engine_log())
        answer = json.loads(out)
        say(f"  {what}: {answer['ttft_ms']:,.0f} ms to the first token, {answer['cached_tokens']:,} of "
            f"{answer['prompt_tokens']:,} tokens from the cache")
        return answer


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K" + text)
        sys.stderr.flush()


def say(text=""):
    print(text, flush=True)


def table(rows):
    say(f"{'process':<26}{'prompt':>8}{'cached':>8}{'first token':>14}{'uncached':>12}{'speed-up':>10}  tokens equal")
    for name, got, ref in rows:
        equal = "yes" if got["token_ids"] == ref["token_ids"] else "NO"
        say(f"{name:<26}{got['prompt_tokens']:>8,}{got['cached_tokens']:>8,}{got['ttft_ms']:>11,.0f} ms"
            f"{ref['ttft_ms']:>9,.0f} ms{ref['ttft_ms'] / got['ttft_ms']:>8.1f} x"
            f"  {equal}, {len(ref['token_ids'])} tokens")
    say()


def check(rows):
    for name, got, ref in rows:
        if got["token_ids"] != ref["token_ids"]:
            raise Failed(f"{name}: tokens differ from the uncached run")
        if not ref["token_ids"]:
            raise Failed(f"{name}: the model gave no answer, so nothing was compared")
    if rows[0][1]["document_tokens"] < MIN_DOCUMENT_TOKENS:
        raise Failed(f"the document has only {rows[0][1]['document_tokens']} tokens")
    for name, got, ref in rows[1:]:
        if got["cached_tokens"] < MIN_CACHED * got["prefix_tokens"]:
            raise Failed(f"{name}: only {got['cached_tokens']} of {got['prefix_tokens']} tokens from the cache")
    # The median: a busy neighbour may hit one of the short runs.
    speedup = statistics.median(ref["ttft_ms"] / got["ttft_ms"] for _, got, ref in rows[1:])
    if speedup < MIN_SPEEDUP:
        raise Failed(f"first token only {speedup:.1f} x sooner, {MIN_SPEEDUP:.0f} x wanted; is the machine busy?")


def share_a_document(demo):
    """Three engines and one more after the restart; rows of (name, answer, uncached answer)."""
    rows, refs = [], []
    say(f"three questions about {DOCUMENT}; first without any cache, then through kvshm")
    for i, question in enumerate(QUESTIONS):
        refs.append(demo.result(demo.engine(question, "--no-cache"), f"uncached run {i + 1}"))

    for i in (0, 1):
        rows.append((f"{i + 1}{' computes, publishes' if not i else ''}",
                     demo.result(demo.engine(QUESTIONS[i]), f"engine {i + 1}"), refs[i]))
    engine = demo.engine("-")
    demo.wait_ready(engine)
    before = demo.stat()
    demo.kill_daemon()
    say("  kvshmd killed (SIGKILL) while engine 3 waits for its question")
    rows.append(("3 with the daemon dead", demo.result(engine, "engine 3", QUESTIONS[2] + "\n"), refs[2]))

    seconds = demo.start_daemon()
    after = demo.stat()
    say(f"  kvshmd started again in {seconds:.2f} s with {published(after):,} of {published(before):,} blocks")
    if published(after) < published(before) or not published(after):
        raise Failed("the restarted daemon lost blocks")
    rows.append(("4 after the restart", demo.result(demo.engine(QUESTIONS[1]), "engine 4"), refs[1]))
    return rows


def published(stat):
    return stat["metrics"]["kvshm_published_blocks"]


def run(demo):
    demo.write_document()
    seconds = demo.start_daemon()
    say(f"kvshmd serves after {seconds:.2f} s")
    rows = share_a_document(demo)
    say()
    table(rows)
    for name, got, _ in rows:
        say(f"{name[:1]}: {got['text'].strip()}")
    say()
    check(rows)

    say("kvshm load: 8 processes for 10 s")
    if subprocess.call([demo.program("kvshm"), "load", "--procs", "8", "--seconds", "10", "--socket",
                        demo.socket], env=demo.env, preexec_fn=die_with_parent):
        raise Failed("kvshm load")
    say()
    say("kvshm stat")
    if subprocess.call([demo.program("kvshm"), "stat", "--socket", demo.socket], env=demo.env):
        raise Failed("kvshm stat")


def on_signal(number, _frame):
    raise Interrupted(number)


def conduct(demo, play):
    """Play a demo to its end, whatever that is.  Return: the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, on_signal)
    failure, status = None, 0
    try:
        play(demo)
    except Interrupted as error:
        failure, status = str(error), error.status
    except Failed as error:
        failure, status = str(error), 1
    except Exception as error:      # whatever it is: the last line says so
        failure, status = f"{type(error).__name__}: {error}", 1
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)   # the end is not cut short
        progress("")
        demo.end_all()
    say()
    say(f"demo: failed: {failure}" if failure else "demo: ok")
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", help="where the programs are (build)")
    return conduct(Demo(parser.parse_args().build), run)


if __name__ == "__main__":
    sys.exit(main())
