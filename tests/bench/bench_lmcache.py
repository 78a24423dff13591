#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_lmcache - kvshm as an L2 of LMCache beside LMCache's own adapters, by LMCache's own benchmark

  KVSHM_BUILD=build tests/bench/bench_lmcache.py [--json] [--redis PROGRAM]

Runs `lmcache bench l2` with verification for kvshm, for files on the same tmpfs, and for Redis where there is a
redis-server: in turn, --turns times; figures are medians of the turns' p50.  Needs
utils/dist/engines/lmcache.sh.  Exit status: 0 measured, 77 no LMCache here.
"""
import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "python"))
from packagelib import BUILD, until  # noqa: E402
from daemonlib import Daemon  # noqa: E402

LMCACHE = os.path.join(ROOT, "build/engines/lmcache/venv/bin/lmcache")
ENV = {**os.environ, "PYTHONPATH": os.path.join(BUILD, "python"), "LMCACHE_TRACK_USAGE": "false", "DO_NOT_TRACK": "1",
       "LMCACHE_DISABLE_BANNER": "1", "LMCACHE_LOG_LEVEL": "ERROR"}


def kvshm_spec(daemon):
    return {"type": "native_plugin", "module_path": "kvshm.lmcache", "class_name": "KvshmL2",
            "adapter_params": {"layout": "bench", "socket": daemon.socket}}


def measure(spec, options):
    """p50 in ms of each operation."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([LMCACHE, "bench", "l2", "--l2-adapter", json.dumps(spec), "--num-keys", str(options.num_keys),
                        "--data-size-kb", str(options.size_kb), "--rounds", str(options.rounds), "--warmup-rounds", "3",
                        "--lookup-max-hit-rate", "1.0", "--no-skip-verify", "-q", "--format", "json", "--output", out.name],
                       check=True, env=ENV, capture_output=True, timeout=600)
        found = json.load(out)["metrics"]
    return {m["operation"].lower(): m["duration_p50_ms"] for m in found.values() if "operation" in m}


def redis(program, folder):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    # one that was only unpacked has its libraries beside it
    libraries = os.path.join(os.path.dirname(os.path.dirname(program)), "lib", f"{os.uname().machine}-linux-gnu")
    process = subprocess.Popen([program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
                               stdout=subprocess.DEVNULL, env={**os.environ, "LD_LIBRARY_PATH": libraries})

    def answers():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
    if not until(answers, 20):
        process.kill()
        raise SystemExit("bench_lmcache: redis-server does not answer")
    return process, {"type": "resp", "host": "127.0.0.1", "port": port}


def find_redis():
    unpacked = os.path.join(ROOT, "build/peers/root/usr/bin/redis-server")
    return shutil.which("redis-server") or (unpacked if os.access(unpacked, os.X_OK) else None)


def run(options, folder):
    # nothing is evicted: twice what all turns store
    mib = 2 * options.turns * (options.rounds + 3) * options.num_keys * options.size_kb // 1024
    daemon = Daemon("--size", f"{max(mib, 512)}M")
    process = None
    try:
        specs = {"kvshm": kvshm_spec(daemon), "fs": {"type": "fs", "base_path": folder}}
        if options.redis:
            process, specs["redis"] = redis(options.redis, folder)
        samples = {name: [] for name in specs}
        for _ in range(options.turns):
            for name, spec in specs.items():
                for entry in os.scandir(folder):        # files of the turn before would only be found
                    (shutil.rmtree if entry.is_dir() else os.unlink)(entry.path)
                samples[name].append(measure(spec, options))
    finally:
        daemon.stop()
        if process:
            process.kill()
            process.wait()
    return {f"{name}_{op}_p50_ms": statistics.median(s[op] for s in turns)
            for name, turns in samples.items() for op in ("store", "lookup", "load")}


def main():
    parser = argparse.ArgumentParser(description="kvshm as an L2 of LMCache beside LMCache's own adapters")
    parser.add_argument("--num-keys", type=int, default=16)
    parser.add_argument("--size-kb", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--redis", default=find_redis(), help="redis-server (default: the one in PATH)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not os.access(LMCACHE, os.X_OK):
        print("no LMCache here: utils/dist/engines/lmcache.sh build/engines")
        return 77
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="kvshm-bench.", dir=base)
    try:
        fields = run(options, folder)
    finally:
        shutil.rmtree(folder)
    fields = {"schema": "kvshm.bench_lmcache/1", "keys": options.num_keys, "object_bytes": options.size_kb << 10, **fields}
    print(json.dumps(fields) if options.json else "\n".join(f"{k:<24} {v}" for k, v in fields.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
