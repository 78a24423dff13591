#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_python - a match of 2,048 keys through the Python package, beside the C client

  KVSHM_BUILD=build tests/bench/bench_python.py [--json] [--assert FIELD<=N]...

Each call takes a random chain and a random cached length, as `kvshm bench match` does, which runs before and
after on as many blocks and is the C client of the ratio.  A batch is 16 calls; figures are those of batches.
Exit status: 0 measured, 1 an --assert does not hold or a length was wrong.
"""
import argparse
import hashlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python"))
from packagelib import BUILD, kvshm, until  # noqa: E402
from daemonlib import Daemon  # noqa: E402

BLOCK, CALLS, WARM_UP = 4096, 16, 10


def chain(number, length, nr):
    """@length cached keys, then others, as an engine has them: a list of bytes."""
    return [hashlib.sha256(b"%d %d" % (number, i)).digest() for i in range(length)] + \
           [hashlib.sha256(b"miss %d %d" % (number, i)).digest() for i in range(length, nr)]


class Bench:
    def __init__(self, daemon, options):
        self.options, self.rand, self.wrong = options, random.Random(1), 0
        self.client = kvshm.open(socket=daemon.socket, label="bench", timeout=10.0)
        self.ns = self.client.attach_ns(b"bench python", b"bytes", BLOCK, 16, "bench")
        self.full = [chain(number, options.keys, options.keys) for number in range(options.chains)]
        # The arena comes extent by extent: what was put early may have had to go.
        if not until(self.fill, 60):
            raise SystemExit("bench_python: the cache does not take what is to be measured")

    def fill(self):
        missing = [keys for keys in self.full if self.match(keys) < len(keys)]
        for keys in missing:
            self.ns.put(keys, [bytes(BLOCK)] * len(keys), timeout=10.0)
            self.client.poll(timeout=10.0)
        return not missing

    def inputs(self):
        """Chains of one batch with the lengths that must come out, some keys not yet in the CPU's caches."""
        for _ in range(CALLS):
            number, length = self.rand.randrange(self.options.chains), self.rand.randint(0, self.options.keys)
            yield chain(number, length, self.options.keys), length

    def batch(self, form, use):
        given = list(self.inputs())
        keys = [form(k) for k, _ in given]
        began = time.perf_counter_ns()
        got = [use(k) for k in keys]
        taken = (time.perf_counter_ns() - began) / CALLS
        self.wrong += got != [length for _, length in given]
        return taken

    def measure(self, form, use):
        samples = [self.batch(form, use) for _ in range(WARM_UP + self.options.batches)][WARM_UP:]
        return statistics.median(samples), sorted(samples)[int(len(samples) * 0.99)]

    def match(self, keys):
        pin = self.ns.acquire(keys)
        nr = pin.matched
        pin.release()
        return nr

    def resolve(self, keys):
        with self.ns.acquire(keys) as pin:
            return len(pin)

    def hand_over(self, keys):
        with self.ns.acquire(keys) as pin:
            if not pin:
                return 0
            with self.ns.import_pin(pin.export()) as other:
                return len(other)


def c_client(options):
    done = subprocess.run([os.path.join(BUILD, "kvshm"), "bench", "match", "--json", "--keys", str(options.keys),
                           "--blocks", str(max(options.chains * options.keys, 4096))], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["p50_ns"]


def run(daemon, options):
    bench = Bench(daemon, options)
    fields = {"schema": "kvshm.bench_python/1", "version": kvshm.__version__,
              "machine": {"cpu": platform.processor() or platform.machine(), "kernel": platform.release()},
              "python": platform.python_version(), "keys": options.keys, "blocks": options.keys * options.chains}
    c = [c_client(options)]
    fields["p50_ns"], fields["p99_ns"] = bench.measure(list, bench.match)
    fields["packed_p50_ns"], fields["packed_p99_ns"] = bench.measure(b"".join, bench.match)
    fields["joined_p50_ns"], _ = bench.measure(list, lambda keys: bench.match(b"".join(keys)))
    fields["resolve_p50_ns"], _ = bench.measure(list, bench.resolve)
    fields["hand_over_p50_ns"], _ = bench.measure(list, bench.hand_over)
    c.append(c_client(options))
    fields["c_p50_ns"] = statistics.mean(c)
    fields["python_to_c_ratio"] = fields["p50_ns"] / fields["c_p50_ns"]
    fields["wrong_lengths"] = bench.wrong
    bench.client.close()
    return fields


def holds(fields, condition):
    name, limit = condition.split("<=")
    if fields[name] <= float(limit):
        return True
    print(f"bench_python: {name} is {fields[name]}, not <= {limit}", file=sys.stderr)
    return False


def main():
    parser = argparse.ArgumentParser(description="a match through the Python package, beside the C client")
    parser.add_argument("--keys", type=int, default=2048)
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--assert", dest="conditions", action="append", default=[], metavar="FIELD<=N")
    options = parser.parse_args()
    mib = options.keys * options.chains * BLOCK * 5 // (1 << 20)    # a chain is pinned twice within a quarter
    daemon = Daemon("--size", f"{max(mib, 64)}M", "--set", f"arena.max_blocks={options.keys * options.chains * 2}")
    try:
        fields = run(daemon, options)
    finally:
        daemon.stop()
    if options.json:
        print(json.dumps(fields))
    else:
        for name, value in fields.items():
            print(f"{name:<18} {value:.0f}" if name.endswith("_ns") else f"{name:<18} {value}")
    return 1 if fields["wrong_lengths"] or not all([holds(fields, c) for c in options.conditions]) else 0


if __name__ == "__main__":
    sys.exit(main())
