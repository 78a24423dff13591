#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_knobs - what each setting of kvshmd does, beside its default, in one run

  KVSHM_BUILD=build tests/bench/bench_knobs.py [--only NAME]... [--rounds N] [--json] [--list]

For each knob daemons with the default and with the other setting are started in turn, each fresh, and measured by
`kvshm bench` over their socket.  The figure is the median of the rounds, the ratio that of the medians.  Knobs of
the kind of pages need root, for a tmpfs mount of their own; else they are skipped, and said so.
Exit status: 0 measured, 1 a benchmark failed.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("KVSHM_BUILD", "build")
HUGE, SMALL = "huge=always", "huge=never"

# name, the default's options, the other's, the benchmark, its field, what the field is
KNOBS = (
    ("pages-match", [HUGE], [SMALL], ["match", "--blocks", "1000000"], "p50_ns", "find and pin, ns"),
    ("pages-get", [HUGE], [SMALL], ["get"], "gb_per_s", "copy out, GB/s"),
    ("pages-put", [HUGE], [SMALL], ["put"], "gb_per_s", "copy in, GB/s"),
    ("trusted", [], [], ["put"], "gb_per_s", "copy in, GB/s; the other is --staged"),
    ("arena.scrub", [], ["arena.scrub=always"], ["put"], "gb_per_s", "copy in, GB/s"),
    ("arena.scrub-64K", [], ["arena.scrub=always"], ["put", "--bytes", "64K"], "gb_per_s", "copy in of 64 KiB, GB/s"),
    ("daemon.copy_lcores", [], ["daemon.copy_lcores=2"], ["put", "--staged"], "gb_per_s", "staged copy in, GB/s"),
    ("clients.credit_bytes", [], ["clients.credit_bytes=32M"], ["put"], "gb_per_s", "copy in, GB/s"),
    ("daemon.sandbox", [], ["daemon.sandbox=off"], ["qp"], "wakeup_us", "wake-up of an idle daemon, us"),
    ("policy.name-put", [], ["policy.name=leaf-lru"], ["put", "--bytes", "64K"], "gb_per_s", "copy in of 64 KiB, GB/s"),
    ("block-64K", [], [], ["get"], "gb_per_s", "copy out, GB/s; the other with blocks of 64 KiB"),
)
OTHER_BENCH = {"trusted": ["put", "--staged"], "block-64K": ["get", "--bytes", "64K"]}


class Setting:
    """A daemon with these options, in memory of its own."""

    def __init__(self, options):
        self.mount = next((o for o in options if o.startswith("huge=")), None)
        self.options = [x for o in options if o != self.mount for x in ("--set", o)]

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="kvshm-knobs.")
        self.memory = tempfile.mkdtemp(prefix="kvshm-knobs.", dir="/dev/shm")
        if self.mount:
            subprocess.run(["mount", "-t", "tmpfs", "-o", self.mount + ",size=90%", "none", self.memory], check=True)
        with open(os.path.join(self.dir, "log"), "w") as log:
            self.process = subprocess.Popen(
                [os.path.join(BUILD, "kvshmd"), "--run-dir", self.dir, "--dir", os.path.join(self.memory, "a"), "--size",
                 "5G", "--max-blocks", "1100000", "--set", "arena.extent=5G", *self.options], stderr=log)
        deadline = time.monotonic() + 60
        while "ready" not in self.said():       # with all of the arena, which is one extent
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("bench_knobs: no daemon: " + self.said())
            time.sleep(0.05)
        return os.path.join(self.dir, "kvshm.sock")

    def said(self):
        with open(os.path.join(self.dir, "log"), encoding="utf-8") as f:
            return f.read()

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=30)
        if self.mount:
            subprocess.run(["umount", self.memory], check=True)
        shutil.rmtree(self.memory, ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)


def measure(options, bench, field):
    with Setting(options) as socket:
        done = subprocess.run([os.path.join(BUILD, "kvshm"), "bench", *bench, "--socket", socket, "--json"],
                              capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench_knobs: kvshm bench {' '.join(bench)}: {done.stderr.strip()}")
    return json.loads(done.stdout)[field]


def knob(name, default, other, bench, field, what, rounds):
    figures = [[], []]
    for _ in range(rounds):
        figures[0].append(measure(default, bench, field))
        figures[1].append(measure(other, OTHER_BENCH.get(name, bench), field))
    a, b = map(statistics.median, figures)
    return {"knob": name, "what": what, "other_setting": " ".join(other), "default": a, "other": b, "ratio": b / a,
            "runs": figures}


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    p.add_argument("--only", action="append", metavar="NAME", help="this knob; may be repeated")
    p.add_argument("--rounds", type=int, default=5, help="daemons of each setting (default 5)")
    p.add_argument("--json", action="store_true")
    p.add_argument("--list", action="store_true", help="names of the knobs")
    o = p.parse_args()
    if o.list:
        print("\n".join(k[0] for k in KNOBS))
        return 0
    chosen = [k for k in KNOBS if not o.only or k[0] in o.only]
    if not chosen:
        p.error("no such knob; --list names them")
    results = []
    for k in chosen:
        if HUGE in k[1] and os.geteuid():
            print(f"{k[0]}: skipped, a mount needs root", file=sys.stderr)
            continue
        results.append(knob(*k, o.rounds))
        if not o.json:
            r = results[-1]
            print(f"{r['knob']:22} {r['default']:10.2f} {r['other']:10.2f} {r['ratio']:7.2f}  {r['what']}", flush=True)
    if o.json:
        print(json.dumps({"schema": "kvshm.bench-knobs/1", "results": results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
