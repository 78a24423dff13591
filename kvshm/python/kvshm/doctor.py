# SPDX-License-Identifier: Apache-2.0
"""doctor.py - `python -m kvshm doctor`: does this Python reach a cache, and how well

Looks from where an engine looks: the package, the socket, the session, the pages under the maps, one block
there and back.  Each line says what is so or what to do.  `kvshm doctor` looks at the host.
"""
import argparse
import json
import os
import re
import sys
import time
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import _kvshm

BLOCK_LEN = 4096
KEY = b"kvshm python doctor, one block  "
GOOD, FIX = "ok", "fix"
STATUS_FIX = 6                      # as of `kvshm doctor`


class Finding(NamedTuple):
    state: str                      # GOOD or FIX
    what: str
    text: str


def candidates(instance: str) -> List[str]:
    """Where libkvshm looks for the daemon's socket, in its order."""
    given = os.environ.get("KVSHM_SOCKET")
    if given and instance == "main":
        return [given]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    own = f"{runtime}/kvshm" if runtime.startswith("/") else f"/tmp/kvshm-{os.geteuid()}"
    return [f"{own}/{instance}/kvshm.sock", f"/run/kvshm/{instance}/kvshm.sock"]


def find_socket(instance: str) -> Tuple[Optional[str], Finding]:
    paths = candidates(instance)
    for path in paths:
        if os.path.exists(path):
            return path, Finding(GOOD, "socket", path)
    return None, Finding(FIX, "socket", f"none of {', '.join(paths)}: start kvshmd, or set KVSHM_SOCKET")


def session(client: _kvshm.Client) -> Finding:
    if client.stats()["is_trusted"]:
        return Finding(GOOD, "session", "trusted: blocks are filled in place")
    return Finding(FIX, "session", f"untrusted: staged, one copy more a put; list uid {os.geteuid()} under "
                   "clients.trusted_uids in kvshmd.conf(5) and reload")


def maps() -> Iterator[Tuple[str, Dict[str, int]]]:
    """Each map of this process, with its smaps lines in KiB."""
    name = ""
    fields: Dict[str, int] = {}
    with open("/proc/self/smaps") as f:
        for line in f:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                if name:
                    yield name, fields
                name, fields = (line.split(None, 5) + [""])[5].strip(), {}
            elif line.endswith("kB\n"):
                key, value = line[:-4].split(":")
                fields[key] = int(value)
    yield name, fields


def pages() -> Finding:
    """What lies under the arena: a look-up touches one page, a copy many."""
    total = huge = 0
    for name, fields in maps():
        if "/arena." in name:
            total += fields.get("Rss", 0) + fields.get("Shared_Hugetlb", 0) + fields.get("Private_Hugetlb", 0)
            huge += sum(fields.get(k, 0) for k in ("ShmemPmdMapped", "Shared_Hugetlb", "Private_Hugetlb"))
    if total and huge * 2 >= total:
        return Finding(GOOD, "pages", "the arena is on huge pages")
    if not total:
        return Finding(GOOD, "pages", "no page of the arena is mapped yet")
    return Finding(FIX, "pages", "the arena is on 4 KiB pages: `kvshm doctor --suggest` says how to get huge ones")


def round_trip(client: _kvshm.Client) -> Finding:
    ns = client.attach_ns(b"kvshm python doctor", b"bytes", BLOCK_LEN, 1, "python doctor")
    data = os.urandom(BLOCK_LEN)
    key = (KEY + os.urandom(8))[-32:]
    if not ns.put([key], [data], timeout=2.0):
        return Finding(FIX, "round trip", "a put was dropped: `kvshm stat` shows why")
    done = client.poll(timeout=2.0)
    began = time.perf_counter_ns()
    pin = ns.acquire([key])
    taken = time.perf_counter_ns() - began
    try:
        if not pin:
            return Finding(FIX, "round trip", f"a block that was put is not found, outcome {done}: `kvshm stat` shows why")
        same = bytes(memoryview(pin[0])) == data
    finally:
        pin.release()
        ns.drop(key)
    if not same:
        return Finding(FIX, "round trip", "WRONG BYTES came back: `kvshm verify` at once, and report it")
    return Finding(GOOD, "round trip", f"{BLOCK_LEN} bytes put, found, equal; the first look-up took {taken / 1000:.1f} us")


def examine(instance: str) -> List[Finding]:
    found = [Finding(GOOD, "package", f"kvshm {_kvshm.__version__}, ABI {_kvshm.ABI}, {os.path.dirname(_kvshm.__file__)}")]
    path, finding = find_socket(instance)
    found.append(finding)
    if path is None:
        return found
    try:
        with _kvshm.Client(path, label="python doctor") as client:
            found.append(Finding(GOOD, "daemon", "answers"))
            found.append(session(client))
            found.append(round_trip(client))
            found.append(pages())
    except _kvshm.Error as error:
        found.append(Finding(FIX, "daemon", error.strerror or str(error)))
    return found


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m kvshm doctor", description="does this Python reach a cache, and how well")
    parser.add_argument("-i", "--instance", default="main", help="which daemon (default: main)")
    parser.add_argument("--json", action="store_true", help="one object, schema kvshm.python_doctor/1")
    options = parser.parse_args(argv)
    found = examine(options.instance)
    if options.json:
        print(json.dumps({"schema": "kvshm.python_doctor/1", "version": _kvshm.__version__,
                          "python": sys.version.split()[0], "findings": [f._asdict() for f in found]}))
    else:
        for f in found:
            print(f"{f.state:<4} {f.what:<11} {f.text}")
    return STATUS_FIX if any(f.state == FIX for f in found) else 0
