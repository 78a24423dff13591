#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""reliability_report.py - what the tests of failures and attacks reach, each against its bar

  utils/dist/reliability_report.py [--build DIR] [--quick]

Runs tests/crash/run, tests/hostile/run, tests/fuzz/run, the planted bugs and the models, and prints one
line a bar: what, bar, reached, verdict.  --quick: the short form of the crash tests, fuzz targets for
20,000 executions.  Exit status 1 if a bar is missed.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
missed = 0


def run(args, *argv):
    env = dict(os.environ, KVSHM_BUILD=args.build, KVSHM_DAEMON=os.path.join(args.build, "kvshmd"))
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        env.pop(name, None)
    return subprocess.run(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True).stdout


def run_json(args, *argv):
    lines = run(args, *argv).strip().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        return {}


def row(what, bar, reached, is_met):
    global missed
    missed += not is_met
    print(f"{'ok    ' if is_met else 'MISSED'} {what:44} {bar:34} {reached}", flush=True)


def crash(args):
    got = run_json(args, "tests/crash/run", "--json", "--build", args.build, *(["--quick"] if args.quick else []))
    bars = (350, 6000, 40, 100000) if args.quick else (4000, 30000, 500, 200000)
    names = ("points", "client_kills", "daemon_kills", "images")
    texts = ("step-and-kill points", "random client kills", "daemon kills", "store-prefix images, all recovered")
    for name, text, bar in zip(names, texts, bars):
        n = got.get(name, 0)
        row(text, f">= {bar:,}", f"{n:,}", n >= bar)
    bad = {k: got.get(k) for k in ("wrong", "leaked", "lost", "hung", "violations", "fds_left")}
    row("wrong, leaked, lost, hung, violations, fds", "0", str(list(bad.values())), not any(v != 0 for v in bad.values()))
    hits = got.get("restart_hits_dead", 0)
    row("reads hit while the daemon is dead", "> 0", f"{hits:,}", hits > 0)
    p99 = got.get("step_reap_p99_us", 10 ** 9)
    row("reap, p99", "<= 10 ms", f"{p99 / 1000:.1f} ms", p99 <= 10000)


def first_put(args):
    helper = os.path.join(args.build, "tests/crash/helper/restart")
    got = run_json(args, helper, "--kills", "10", "--arena-mib", "1024", "--readers", "2", "--writers", "1")
    p50, worst = got.get("first_put_p50_ms", 10 ** 9), got.get("first_put_max_ms", 10 ** 9)
    row("first put after SIGKILL, 1 GiB, worst of 10", "<= 1,000 ms",
        f"{worst:.0f} ms (median {p50:.0f}; of it LIVE after {got.get('live_p50_ms', 0):.0f})", worst <= 1000)


def slows(got, what):
    ratio, without = got.get("neighbour_p99_ratio"), got.get("unmeasured")
    reached = f"{ratio:.2f} x" if ratio else "the cores were never free enough"
    row(what, "<= 1.5 x", reached + (f", not measured: {', '.join(without)}" if without and ratio else ""),
        bool(ratio) and ratio <= 1.5)


def hostile(args):
    got = run_json(args, "tests/hostile/run", "--json", "--build", args.build)
    row("hostile attacks", ">= 60, 0 harmful", f"{got.get('attacks', 0)}, {got.get('harmful', '?')} harmful",
        got.get("attacks", 0) >= 60 and got.get("harmful") == 0)
    slows(got, "one hostile client in eight slows the others")
    got = run_json(args, "tests/hostile/run", "--json", "--build", args.build, "--only", "flood_puts",
                   "--window-ms", "300" if args.quick else "1500")
    gib = min(got.get("put_bytes", {"": 0}).values(), default=0) / 2 ** 30
    slows(got, f"one that commits {gib:.0f} GiB slows a neighbour")


def tap(text, pattern=""):
    lines = [l for l in text.splitlines() if re.match(rf"(not )?ok\b.*{pattern}", l)]
    return (sum(l.startswith("ok") and "# SKIP" not in l for l in lines), sum(l.startswith("not ok") for l in lines),
            sum("# SKIP" in l for l in lines), lines)


def fuzz(args):
    text = run(args, "tests/fuzz/run", "--build", args.build, *(["--runs", "20000"] if args.quick else []))
    ok, bad, _, lines = tap(text)
    for line in lines:
        name = line.split(" - ", 1)[1]
        row("fuzz: " + name.split(":")[0][:38], "0 findings", name.split(":", 1)[-1].strip(), line.startswith("ok"))
    if not lines:
        row("fuzz", "0 findings", "did not run", False)


def others(args):
    ok, bad, skipped, _ = tap(run(args, "tests/crash/plants.sh"))
    row("planted bugs", "all found", f"{ok} found, {bad} not, {skipped} not applicable", ok > 0 and bad == 0)
    text = run(args, "tests/model/test_models.sh")
    ok, bad, _, _ = tap(text, "holds")
    row("spin models, exhaustive", "all hold", f"{ok} hold, {bad} do not", ok > 0 and bad == 0)
    ok, bad, _, _ = tap(text, "rejects")
    row("mistakes planted in them", "all rejected", f"{ok} rejected, {bad} not", ok > 0 and bad == 0)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--quick", action="store_true")
    args = p.parse_args()
    args.build = os.path.abspath(args.build)
    start = time.monotonic()
    for part in (crash, first_put, hostile, fuzz, others):
        part(args)
    print(f"{missed} missed, {time.monotonic() - start:.0f} s")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
