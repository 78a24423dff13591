#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# kvshm-test: timeout=300
"""Static probes: the programs have those of Documentation/admin-guide/probes.rst, and every shipped script hears them."""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from packagelib import BUILD, ROOT, WithDaemon, attach, keys_of, kvshm, put, until

PAGE = os.path.join(ROOT, "Documentation", "admin-guide", "probes.rst")
SCRIPTS = sorted(glob.glob(os.path.join(ROOT, "utils", "dist", "bpftrace", "*.bt")))
KVSHMD = os.path.join(BUILD, "kvshmd")
LIBRARY = os.path.join(BUILD, "libkvshm.so")
NOTE = re.compile(r"Provider: kvshm\s+Name: (\w+)\s.*?Arguments: ?([^\n]*)", re.S)


def probes_in(program):
    """Name -> set of numbers of arguments, of all sites."""
    out = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
    found = {}
    for name, arguments in NOTE.findall(out):
        found.setdefault(name, set()).add(len(arguments.split()))
    return found


def probes_of_page():
    """Program -> {name: arguments}, out of the tables."""
    found, program, last = {}, None, None
    with open(PAGE) as f:
        for line in f:
            if m := re.match(r"``(kvshmd|libkvshm\.so)``:$", line):
                program, last = m[1], None
            elif line.startswith("Scripts"):
                break
            elif program and (m := re.match(r"``(\w+)``\s+(\S.*?)\s{2,}", line)):
                last = m[1]
                found.setdefault(program, {})[last] = m[2]
            elif last and line[:19].strip() == "" and line[19:49].strip():
                found[program][last] += " " + line[19:49].strip()       # a cell of two lines
    return {program: {name: {len(text.split(","))} for name, text in table.items()} for program, table in found.items()}


if not shutil.which("readelf"):
    print("no readelf here")
    sys.exit(77)
if not probes_in(KVSHMD) and not glob.glob("/usr/include/*/sys/sdt.h") + glob.glob("/usr/include/sys/sdt.h"):
    print("built without <sys/sdt.h> (package systemtap-sdt-dev)")
    sys.exit(77)


class Notes(unittest.TestCase):
    def test_the_programs_have_the_probes_of_the_page(self):
        page = probes_of_page()
        self.assertGreater(len(page["kvshmd"]), 10)
        self.assertEqual(probes_in(KVSHMD), page["kvshmd"])
        self.assertEqual(probes_in(LIBRARY), page["libkvshm.so"])

    @unittest.skipUnless(shutil.which("gcc"), "no gcc here")
    def test_without_the_header_a_probe_is_nothing_and_its_arguments_count_as_used(self):
        source = ('#include "kvshm/base/usdt.h"\n'
                  "int f(int x); int f(int x) { int only_for_it = x + 1; USDT(one, only_for_it, x); return 0; }\n")
        with tempfile.TemporaryDirectory() as folder:
            sizes = []
            for flags in (["-DKVSHM_NO_USDT"], ["-DKVSHM_NO_USDT", "-DUSDT(...)"], []):
                out = os.path.join(folder, "f.o")
                werror = [] if flags[1:] else ["-Wall", "-Wextra", "-Werror"]
                subprocess.run(["gcc", "-O2", "-iquote", ROOT, *werror, *flags, "-c", "-x", "c", "-", "-o", out], check=True,
                               input=source, text=True)
                sizes.append(subprocess.run(["size", out], capture_output=True, text=True, check=True).stdout.split()[6])
                self.assertEqual(bool(probes_in(out)), not flags)
        self.assertEqual(sizes[0], sizes[1])

    def test_the_page_has_every_script_and_no_other(self):
        with open(PAGE) as f:
            named = re.findall(r"^``([\w-]+\.bt)``", f.read(), re.M)
        self.assertEqual(sorted(named), [os.path.basename(s) for s in SCRIPTS])

    def test_scripts_name_only_probes_that_exist(self):
        known = {"/usr/sbin/kvshmd": probes_in(KVSHMD),
                 "/usr/lib/x86_64-linux-gnu/libkvshm.so.0": probes_in(LIBRARY)}
        for script in SCRIPTS:
            with open(script) as f:
                text = f.read()
            for program, name in re.findall(r"^usdt:([^:]+):kvshm:(\w+)", text, re.M):
                self.assertIn(name, known[program], script)


class Traced(WithDaemon):
    """Each script beside a daemon that does what it is about, until it has said so."""

    @classmethod
    def setUpClass(cls):
        if not shutil.which("bpftrace"):
            raise unittest.SkipTest("no bpftrace here")
        probe = subprocess.run(["bpftrace", "-e", f"usdt:{KVSHMD}:kvshm:op_done {{ @ = count(); }} interval:ms:1 {{ exit(); }}"],
                               capture_output=True, text=True, timeout=120)
        if probe.returncode:
            raise unittest.SkipTest("bpftrace does not work here: " + probe.stderr.strip().splitlines()[-1])

    def setUp(self):
        super().setUp()
        self.chain = 0

    def listen(self, name, work, *wanted):
        with open(os.path.join(ROOT, "utils", "dist", "bpftrace", name)) as f:
            text = f.read()
        library = os.path.join(os.path.dirname(kvshm.__file__), "libkvshm.so.0")
        text = text.replace("/usr/sbin/kvshmd", os.path.realpath(KVSHMD))
        text = text.replace("/usr/lib/x86_64-linux-gnu/libkvshm.so.0", os.path.realpath(library))
        script, out = (os.path.join(self.daemon.dir, x) for x in ("script.bt", "out"))
        # Maps are printed at the end only; a signal before all is attached would spoil that.
        maps = sorted({m for pattern in wanted for m in re.findall(r"@\w+", pattern)})
        with open(script, "w") as f:
            f.write(text + "interval:ms:200 { %s }\n" % " ".join(f"print({m});" for m in maps) if maps else text)
        with open(out, "w") as log:
            tracer = subprocess.Popen(["bpftrace", script], stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(tracer.wait, 60)
        self.addCleanup(tracer.send_signal, signal.SIGINT)

        def said():
            with open(out) as f:
                return f.read()

        def has_heard():
            work()
            return all(re.search(pattern, said(), re.M) for pattern in wanted)

        self.assertTrue(until(has_heard, 90), said())

    def put_some(self, nr=60):
        self.chain += 1
        put(self.ns, self.chain, nr)

    def put_and_drop(self):
        self.put_some(20)
        self.ns.drop()

    def come_and_go(self):
        self.open().close()
        subprocess.run([sys.executable, "-c",
                        "import os, sys; sys.path[:0] = sys.argv[1:3]; from packagelib import attach, keys_of, kvshm; "
                        "pin = attach(kvshm.open(socket=sys.argv[3])).acquire(keys_of(1, 4)); os.kill(os.getpid(), 9)",
                        os.path.join(BUILD, "python"), os.path.dirname(__file__), self.daemon.socket])

    def put_staged(self):
        client = self.open(untrusted=True)
        put(attach(client), 7, 4)
        client.close()
        self.ns.drop()

    def acquire(self):
        self.ns.acquire(keys_of(1, 30)).release()

    def test_op_latency(self):
        self.listen("op-latency.bt", self.put_some, r"@latency_ns\[\d+, 4\]")

    def test_evictions(self):
        self.listen("evictions.bt", lambda: (self.put_some(), self.chain % 30 or self.ns.drop()),
                    r"@blocks\[1, evicted\]: [1-9]", r"@bytes\[1, dropped\]: [1-9]")

    def test_block_states(self):
        self.listen("block-states.bt", self.put_and_drop, r"@changes\[granted, published\]: [1-9]",
                    r"@changes\[published, quarantined\]: [1-9]", r"@published_ms")

    def test_reaps(self):
        self.put_some(4)
        self.listen("reaps.bt", self.come_and_go, r"^\d+ +attach +\d+ uid", r"^\d+ +detach +\d+ why +0$",
                    r"^\d+ +death +\d+ pins +\d+ +\d+$")

    def test_pin_scans(self):
        self.listen("pin-scans.bt", self.put_and_drop, r"@scan_ns", r"@files: [1-9]")

    def test_copies(self):
        self.listen("copies.bt", self.put_staged, r"@bytes\[\d+\]: [1-9]", r"@copy_us\[\d+\]")

    def test_acquires(self):
        self.put_some(30)
        self.listen("acquires.bt", self.acquire, r"@asked\[\d+, \w+\]: [1-9]", r"@found\[\d+, \w+\]: [1-9]")


if __name__ == "__main__":
    unittest.main(verbosity=2)
