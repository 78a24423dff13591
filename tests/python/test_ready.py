#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A daemon that lives and takes nothing is not ready; one letter tells what each of its clients does."""
import json
import os
import signal
import subprocess
import unittest

from packagelib import BUILD, WithDaemon, attach, kvshm, put, until

KVSHM = os.path.join(BUILD, "kvshm")


def answer(daemon, path):
    return subprocess.run([KVSHM, "exporter", "--print", path, "--socket", daemon.socket], capture_output=True, text=True,
                          check=True).stdout


class Ready(WithDaemon):
    options = ("--set", "clients.credit_bytes=64M", "--set", "clients.credit_blocks=65536")

    def test_it_is_until_no_put_finds_room(self):
        self.assertEqual(answer(self.daemon, "/readyz"), "ready\n")
        hoards, grants = [self.ns] + [attach(self.open()) for _ in range(7)], []
        for ns in hoards:               # what is granted cannot be evicted
            for _ in range(80):
                try:
                    grant = ns.grant(16, timeout=0.2)
                except (kvshm.Error, TimeoutError):
                    break
                if not len(grant):
                    break
                grants.append(grant)
        late = attach(self.open(untrusted=True))
        for chain in range(100, 108):
            put(late, chain, 4, wait=False)
        said = until(lambda: "not ready" in answer(self.daemon, "/readyz") and answer(self.daemon, "/readyz"))
        self.assertEqual(said, "not ready: all is pinned or full, no put of the last minute was taken\n")
        self.assertIn('kvshm_ready{daemon="main"} 0\n', answer(self.daemon, "/metrics"))
        self.assertIn('kvshm_up{daemon="main"} 1\n', answer(self.daemon, "/metrics"))
        del grants, hoards


class Letters(WithDaemon):
    def letters(self):
        """{pid: letter} of a look that knows an earlier one."""
        done = subprocess.run([KVSHM, "clients", "--json", "-w0.3", "-n2", "--socket", self.daemon.socket],
                              capture_output=True, text=True, check=True)
        return {c["pid"]: c["activity"] for c in json.loads(done.stdout.splitlines()[-1])["clients"]}

    def test_idle_running_and_stopped(self):
        me = os.getpid()
        put(self.ns, 1, 4)
        self.assertEqual(until(lambda: self.letters().get(me) == "I"), True)
        child = subprocess.Popen(["sh", "-c", f"exec {KVSHM} load --procs 1 --seconds 30 --socket {self.daemon.socket}"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            runs = until(lambda: next((p for p, s in self.letters().items() if p != me and s == "R"), None))
            self.assertTrue(runs)
            os.kill(runs, signal.SIGSTOP)
            self.assertEqual(until(lambda: self.letters().get(runs) == "S"), True)
            os.kill(runs, signal.SIGCONT)
        finally:
            child.terminate()
            child.wait()


if __name__ == "__main__":
    unittest.main()
