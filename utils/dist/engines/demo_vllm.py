#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make demo-vllm: vLLM processes of a node share the KV of a prompt, real weights, on the CPU.

The first computes it and saves, the others load it out of shared memory, also with the daemon dead and after
its restart.  Each answer is held against one of an engine without any cache.  The last line is "demo: ok"
or what failed.
"""

import argparse
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.dirname(HERE))

from demo import MIN_CACHED, MIN_SPEEDUP, Demo, Failed, conduct, die_with_parent, progress, published, say, table

PROMPT_TOKENS = 2200
ENGINE_TIMEOUT_S = 900


class VllmDemo(Demo):
    def __init__(self, build, engines):
        super().__init__(build)
        vllm = os.path.join(os.path.abspath(engines), "vllm")
        self.python = os.path.join(vllm, "venv", "bin", "python")
        self.env.update(KVSHM_MODELS=os.path.join(vllm, "models"), PYTHONWARNINGS="ignore")
        if not os.path.isdir(os.path.join(vllm, "models", "smol")):
            raise Failed("there is no model smol: make setup could not fetch it")

    def install(self):
        """The wheel of this build, as pip install does it."""
        wheels = [name for name in os.listdir(os.path.join(self.build, "wheel")) if name.endswith(".whl")]
        subprocess.run([os.path.join(os.path.dirname(self.python), "uv"), "pip", "install", "-q", "--no-deps",
                        "--reinstall", "--python", self.python, os.path.join(self.build, "wheel", wheels[0])], check=True)

    def engine(self, has_cache=True, wait=False):
        """KVSHM=1 is all that turns the cache on."""
        job = {"model": "smol", "prompts": [[0, PROMPT_TOKENS]], "engine": {"kv_mib": 1024}, "wait": wait}
        env = dict(self.env, KVSHM="1") if has_cache else self.env
        log = open(os.path.join(self.dir, "engine.log"), "w", encoding="utf-8")
        child = subprocess.Popen([self.python, os.path.join(ROOT, "tests", "engines", "vllm_once.py"), json.dumps(job)],
                                 env=env, start_new_session=True, preexec_fn=die_with_parent, text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        log.close()
        self.children.append(child)
        return child

    def line(self, engine, what, word):
        """The rest of the line that begins with @word."""
        start = time.monotonic()
        for line in engine.stdout:
            progress(f"  {what}: {time.monotonic() - start:.0f} s")
            if line.startswith(word):
                progress("")
                return line[len(word):]
            if time.monotonic() - start > ENGINE_TIMEOUT_S:
                break
        raise Failed(f"{what}: vLLM ended without an answer:\n" + self.engine_log()[-3000:])

    def answer(self, engine, what):
        got = json.loads(self.line(engine, what, "ANSWER "))
        engine.wait()
        say(f"  {what}: {got['ttft_ms']:,.0f} ms to the first token, {got['cached']:,} of {PROMPT_TOKENS:,} tokens "
            "from the cache")
        return {"prompt_tokens": PROMPT_TOKENS, "cached_tokens": got["cached"], "ttft_ms": got["ttft_ms"],
                "token_ids": got["tokens"]}


def share_a_prompt(demo):
    """Rows of (name, answer, uncached answer)."""
    say(f"{PROMPT_TOKENS:,} tokens of a license; first without any cache, then through kvshm (an engine takes a while "
        "to start)")
    plain = demo.answer(demo.engine(has_cache=False), "uncached run")
    rows = [("1 computes, saves", demo.answer(demo.engine(), "engine 1"), plain),
            ("2", demo.answer(demo.engine(), "engine 2"), plain)]
    engine = demo.engine(wait=True)
    demo.line(engine, "engine 3", "READY")
    before = published(demo.stat())
    demo.kill_daemon()
    say("  kvshmd killed (SIGKILL) while engine 3 waits for its prompt")
    engine.stdin.write("go\n")
    engine.stdin.flush()
    rows.append(("3 with the daemon dead", demo.answer(engine, "engine 3"), plain))
    seconds = demo.start_daemon()
    say(f"  kvshmd started again in {seconds:.2f} s with {published(demo.stat()):,} of {before:,} blocks")
    rows.append(("4 after the restart", demo.answer(demo.engine(), "engine 4"), plain))
    return rows


def check(rows):
    for name, got, plain in rows:
        if got["token_ids"] != plain["token_ids"]:
            raise Failed(f"{name}: tokens differ from the uncached run")
    for name, got, plain in rows[1:]:
        if got["cached_tokens"] < MIN_CACHED * PROMPT_TOKENS:
            raise Failed(f"{name}: only {got['cached_tokens']} tokens from the cache")
        speedup = plain["ttft_ms"] / got["ttft_ms"]
        if speedup < MIN_SPEEDUP:
            raise Failed(f"{name}: first token only {speedup:.1f} x sooner, {MIN_SPEEDUP:.0f} x wanted; is the machine "
                         "busy?")


def play(demo):
    demo.install()
    say(f"kvshmd serves after {demo.start_daemon():.2f} s")
    rows = share_a_prompt(demo)
    say()
    table(rows)
    check(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", help="where the programs are (build)")
    parser.add_argument("--engines", default="build/engines", help="where vLLM is installed (build/engines)")
    options = parser.parse_args()
    try:
        demo = VllmDemo(options.build, options.engines)
    except Failed as error:
        say(f"demo: failed: {error}")
        return 1
    return conduct(demo, play)


if __name__ == "__main__":
    sys.exit(main())
