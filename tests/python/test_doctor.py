#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kvshm doctor on made-up hosts: one that lacks nothing, and others that lack one thing each."""
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

from daemonlib import ABI, BUILD, MAPPED, Daemon, hello, leave, plain, receive

TOOL = os.path.join(BUILD, "kvshm")
PAGES, PROTECTION, MEMORY_DIR, SOCKET = 1, 4, 6, 7
TEXT_LEN = 128
PID = 4127
MOUNTS = {"/": "ext4 rw", "/dev/shm": "tmpfs rw,size=8388608k", "/run": "tmpfs rw,size=800000k",
          "/run/kvshm-huge": "hugetlbfs rw,pagesize=2M", "/run/kvshm-pins/main": "tmpfs rw,size=16384k"}
ON_TMPFS = dict(MOUNTS, **{"/run/kvshm-huge": "tmpfs rw,huge=within_size,size=8388608k"})
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max open files            65536                65536                files
Max locked memory         8388608              8388608              bytes
"""
HOST = {
    "/proc/sys/kernel/osrelease": "6.8.0\n",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "1024\n",
    "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages": "512\n",
    "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages": "512\n",
    "/sys/kernel/mm/transparent_hugepage/shmem_enabled": "always within_size [advise] never deny force\n",
    "/proc/sys/kernel/numa_balancing": "0\n",
    "/proc/sys/kernel/io_uring_disabled": "0\n",
    "/proc/swaps": "Filename Type Size Used Priority\n",
    f"/proc/{PID}/limits": LIMITS,
    f"/proc/{PID}/cgroup": "0::/system.slice/kvshmd@main.service\n",
    "/sys/fs/cgroup/system.slice/kvshmd@main.service/memory.max": "max\n",
    "/sys/fs/cgroup/system.slice/memory.max": "max\n",
    "/etc/systemd/logind.conf": "[Login]\n#RemoveIPC=yes\n",
}


def real_page():
    """The statistics page of a daemon with one trusted and one untrusted session."""
    daemon, sessions = Daemon(), []
    try:
        for flags in (0, 1):
            s = daemon.connect()
            s.send(hello(flags=flags))
            sessions.append((s, receive(s)[2]))
            s.send(plain(MAPPED))
            receive(s)
        # the page is told of them in the writer's next turn
        deadline = time.monotonic() + 20
        while subprocess.run([TOOL, "clients", "--socket", daemon.socket], capture_output=True,
                             text=True).stdout.count(" attached ") < 2:
            if time.monotonic() > deadline:
                raise RuntimeError("the sessions do not show in the page")
            time.sleep(0.02)
        with open(os.path.join(daemon.dir, "stats"), "rb") as f:
            return f.read()
    finally:
        for s, fds in sessions:
            leave(s, fds)
        daemon.stop()


def gpu(script, libcuda=os.path.join(BUILD, "fake/libcuda.so.1"), costs="/nowhere/gpu.costs", storage="",
        libcufile="fake/libcufile.so.0", within=()):
    """What the tool says of this host's driver, the fake one unless told otherwise."""
    run = subprocess.run([*within, TOOL, "doctor", "--socket", "/nowhere"], capture_output=True, text=True, timeout=60,
                         env=dict(os.environ, KVSHM_LIBCUDA=libcuda, FAKE_CUDA_SCRIPT=script, KVSHM_STAGE_COSTS=costs,
                                  KVSHM_LIBCUFILE=os.path.join(BUILD, libcufile), FAKE_CUFILE_SCRIPT=storage))
    return "".join(line + "\n" for line in run.stdout.split("\n") if line[7:17].strip() == "gpu")


def classes(*names):
    """A command before others: a mount namespace where /sys/class has nothing but these."""
    make = "mount -t tmpfs none /sys/class && " + " && ".join(f"mkdir -p /sys/class/{n}" for n in names) + " && exec \"$@\""
    return ["unshare", "-r", "-m", "sh", "-c", make, "sh"]


HAS_MOUNTS = not subprocess.run([*classes("none"), "true"], capture_output=True).returncode


class Host:
    """Files of a host below a directory."""

    def __init__(self, page, files=HOST, mounts=MOUNTS):
        self.root = tempfile.mkdtemp(prefix="kvshm-test.")
        self.page = bytearray(page)
        for path, text in files.items():
            self.write(path, text)
        self.write("/proc/self/mounts", "".join(f"none {d} {m} 0 0\n" for d, m in mounts.items()))
        self.text(PAGES, "hugetlb pages")
        self.text(PROTECTION, "read-only mount given by the configuration")
        self.text(MEMORY_DIR, "/run/kvshm-huge/main")
        self.text(SOCKET, "/run/kvshm/main/kvshm.sock")
        struct.pack_into("<Q", self.page, 48, PID)
        self.trust_all()
        os.makedirs(self.path("/run/kvshm/main"))
        self.socket = socket.socket(socket.AF_UNIX)
        here = os.open(self.path("/run/kvshm/main"), os.O_RDONLY)
        try:                            # by descriptor: the path may be too long for a socket
            self.socket.bind(f"/proc/self/fd/{here}/kvshm.sock")
        finally:
            os.close(here)
        self.mode("/run/kvshm/main/kvshm.sock", 0o660)

    def path(self, path):
        return self.root + path

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w") as f:
            f.write(text)

    def mode(self, path, mode):
        os.chmod(self.path(path), mode)

    def text(self, which, text):
        at = struct.unpack_from("<I", self.page, 84)[0] + which * TEXT_LEN
        self.page[at:at + TEXT_LEN] = text.encode().ljust(TEXT_LEN, b"\0")

    def trust_all(self, trusted=1, uid=1003):
        at, nr = struct.unpack_from("<I", self.page, 80)[0], struct.unpack_from("<I", self.page, 68)[0]
        for i in range(nr):
            if struct.unpack_from("<I", self.page, at + 152 * i)[0]:
                struct.pack_into("<II", self.page, at + 152 * i + 12, uid, trusted)

    def doctor(self, *options, with_page=True):
        path = self.path("/run/kvshm/main/stats")
        if with_page:
            with open(path, "wb") as f:
                f.write(self.page)
            if not os.path.exists(path + ".mode"):
                os.chmod(path, 0o640)
        return subprocess.run([TOOL, "doctor", "--root", self.root, *options], capture_output=True, text=True)

    def remove(self):
        self.socket.close()
        shutil.rmtree(self.root)


class Doctor(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.page = real_page()

    def host(self, **options):
        h = Host(self.page, **options)
        self.addCleanup(h.remove)
        return h

    def changes(self, host, **options):
        """{check: (text, lines)} of what is to change; the exit status must say the same."""
        run = host.doctor("--json", **options)
        self.assertEqual(run.stderr, "")
        report = json.loads(run.stdout)
        self.assertEqual(report["schema"], "kvshm.doctor/1")
        found = {f["check"]: (f["text"], f["suggest"]) for f in report["findings"] if f["verdict"] == "change"}
        self.assertEqual(report["nr_changes"], len(found))
        self.assertEqual(run.returncode, 6 if found else 0)
        return found

    def finds(self, host, check, text, lines="", **options):
        """Exactly one thing is to change, and it is this one."""
        found = self.changes(host, **options)
        self.assertEqual(list(found), [check])
        self.assertIn(text, found[check][0])
        self.assertIn(lines, found[check][1])

    def test_a_host_that_lacks_nothing_is_fine(self):
        run = self.host().doctor()
        self.assertEqual((run.returncode, run.stdout.splitlines()[-1]), (0, "nothing to change"))
        self.assertEqual(self.changes(self.host(mounts=ON_TMPFS)), {})

    def test_lines_are_printed_only_with_suggest(self):
        h = self.host()
        h.write("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n")
        run = h.doctor()
        self.assertNotIn("sysctl", run.stdout)
        self.assertIn("1 to change; --suggest prints the lines to add", run.stdout)
        self.assertIn("\n                  sysctl vm.nr_hugepages=32 ", h.doctor("--suggest").stdout)

    def test_too_few_huge_pages_are_counted_by_node(self):
        h = self.host()
        h.write("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n")
        h.write("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "8\n")
        self.finds(h, "hugepages", "wanted 32, reserved 8; node 0: 512, node 1: 8", "vm.nr_hugepages=32")

    def test_small_pages_in_use(self):
        h = self.host()
        h.text(PAGES, "4 KiB pages")
        self.finds(h, "pages", "4 KiB pages in use")

    def test_shared_memory_may_not_have_huge_pages(self):
        h = self.host(mounts=ON_TMPFS)
        h.write("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always advise never [deny] force\n")
        self.finds(h, "shmem", '"deny"', "echo advise")
        os.remove(h.path("/sys/kernel/mm/transparent_hugepage/shmem_enabled"))
        self.finds(h, "shmem", "no transparent huge pages")

    def test_a_kernel_that_never_gives_them_matters_where_pages_are_small(self):
        h = self.host(mounts=ON_TMPFS)
        h.write("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always advise [never] deny force\n")
        self.assertEqual(self.changes(h), {})
        h.text(PAGES, "4 KiB pages")
        self.assertEqual(list(self.changes(h)), ["pages", "shmem"])

    def test_a_tmpfs_without_huge_pages(self):
        h = self.host(mounts=dict(MOUNTS, **{"/run/kvshm-huge": "tmpfs rw,size=1G"}))
        self.finds(h, "mount", "without huge=", "huge=within_size")

    def test_an_arena_on_a_disk(self):
        h = self.host(mounts={d: m for d, m in MOUNTS.items() if d not in ("/run", "/run/kvshm-huge")})
        self.finds(h, "mount", "lies on / (ext4)", "[arena]")

    def test_a_small_dev_shm(self):
        h = self.host(mounts=dict(MOUNTS, **{"/dev/shm": "tmpfs rw,size=65536k"}))
        self.finds(h, "dev_shm", "size 64.0 MiB", "--shm-size")

    def test_no_dev_shm(self):
        h = self.host(mounts={d: m for d, m in MOUNTS.items() if d != "/dev/shm"})
        self.finds(h, "dev_shm", "no tmpfs", "mount -t tmpfs")

    def test_pin_files_without_a_file_system_of_their_own(self):
        h = self.host(mounts={d: m for d, m in MOUNTS.items() if "pins" not in d})
        self.finds(h, "pins", "takes their room", "pins_dir=")

    def test_swap(self):
        h = self.host(mounts=ON_TMPFS)
        h.write("/proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n")
        self.finds(h, "swap", "can go there", "noswap")
        self.assertEqual(self.changes(self.host()), {})

    def test_numa_balancing_on_more_than_one_node(self):
        h = self.host()
        h.write("/proc/sys/kernel/numa_balancing", "1\n")
        self.finds(h, "numa", "2 nodes", "kernel.numa_balancing=0")
        shutil.rmtree(h.path("/sys/devices/system/node/node1"))
        self.assertEqual(self.changes(h), {})

    def test_an_old_kernel(self):
        h = self.host()
        h.write("/proc/sys/kernel/osrelease", "5.10.0-30-amd64\n")
        run = h.doctor()
        self.assertEqual(run.returncode, 6)
        for what in ("SO_PEERPIDFD", "MADV_COLLAPSE", "MADV_POPULATE_WRITE", "mount_setattr"):
            self.assertIn("5.10.0-30-amd64 has no " + what, run.stdout)
        h.write("/proc/sys/kernel/osrelease", "6.1.0-18-amd64\n")
        self.assertEqual(self.changes(h), {})
        self.assertIn("note   kernel     6.1.0-18-amd64 has no SO_PEERPIDFD", h.doctor().stdout)

    def test_a_slow_clock(self):
        h = self.host()
        h.write("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")
        self.finds(h, "clock", "hpet: reading it is a system call")

    def test_memlock_matters_beside_a_gpu(self):
        h = self.host()
        h.write("/proc/driver/nvidia/version", "NVRM version: 550.54\n")
        self.finds(h, "memlock", "8.0 MiB, less than the arena of 64.0 MiB", "LimitMEMLOCK=infinity")
        h.write(f"/proc/{PID}/limits", LIMITS.replace("8388608 ", "unlimited "))
        self.assertEqual(self.changes(h), {})

    def test_the_driver_and_its_devices(self):
        run = gpu("devices=2;peer=0;attr=124:0;missing=cuMemcpyBatchAsync")
        self.assertIn("ok     gpu        driver of CUDA 13.0", run)
        self.assertIn("note   gpu        copy_batch is off, the driver has no cuMemcpyBatchAsync (12.8): one call a copy", run)
        self.assertIn("ok     gpu        device 1: fake device 1, 0000:3c:00.0, node unknown, sm_90, 3 copy engines", run)
        self.assertIn("read-only memory, as untrusted clients have it: no (they go by kvshm-gpud or a bounce buffer)", run)
        self.assertIn("note   gpu        device 0 GPUDirect RDMA: off: the driver exports no dma-buf", run)
        self.assertIn("note   gpu        devices 0 and 1 GPUDirect P2P: off: no path between them", run)
        self.assertIn("ok     gpu        device 1 staging pool: possible (kvshm-gpud --pool)", run)
        run = gpu("devices=2;attr=103:0")
        self.assertIn("note   gpu        device 0 staging pool: off: the device does not share memory by descriptor", run)

    def test_the_costs_that_copies_are_planned_by(self):
        costs = "".join(f"{name}=10\n" for name in (
            "call_ns", "copy_ns", "row_ns", "batch_ns", "entry_ns", "entry_copy_ns", "launch_ns", "link_bytes_per_ns", "device_bytes_per_ns",
            "direct_bytes_per_ns"))
        with tempfile.NamedTemporaryFile("w", prefix="kvshm-test.") as f:
            f.write(f"[fake device 0]\nsource=simulated\n{costs}[fake device 1]\nsource=measured\n{costs}")
            f.flush()
            run = gpu("devices=3", costs=f.name)
            self.assertIn(f"ok     gpu        device 0: copies are planned by the costs in {f.name}\n", run)
            self.assertIn(f"note   gpu        device 1: copies are planned by guessed costs: {f.name}: [fake device 1] was "
                          "measured, and this driver is simulated (kvshm bench stage --costs /etc/kvshm/gpu.costs)", run)
            self.assertIn("guessed costs: " + f.name + " has no section [fake device 2]", run)
            f.write("nonsense\n")
            f.flush()
            self.assertIn(f"guessed costs: {f.name}:25: neither [section] nor key=value", gpu("", costs=f.name))
        self.assertIn("guessed costs: /nowhere/gpu.costs: No such file", gpu(""))

    def test_why_devices_are_no_peers(self):
        self.assertIn("note   gpu        device 0 GPUDirect P2P: off: there is no other device", gpu("devices=1"))
        run = gpu("devices=3")
        for a, b in ((0, 1), (0, 2), (1, 2)):
            self.assertIn(f"ok     gpu        devices {a} and {b} GPUDirect P2P: on\n", run)
        self.assertIn("P2P: off: the driver lacks the question", gpu("devices=2;missing=cuDeviceCanAccessPeer"))
        # from one to the other is not enough
        self.assertIn("P2P: off: No such device", gpu("devices=2;fail=cuDeviceCanAccessPeer:2:101"))

    @unittest.skipUnless(HAS_MOUNTS, "no mount namespace of one's own")
    def test_why_there_is_no_rdma(self):
        card, none = classes("infiniband/mlx5_0"), classes("infiniband")
        self.assertIn("ok     gpu        device 0 GPUDirect RDMA: on, by dma-buf\n", gpu("", within=card))
        self.assertIn("note   gpu        device 0 GPUDirect RDMA: off: its memory can be exported by dma-buf, but no RDMA "
                      "card is here\n", gpu("", within=none))
        self.assertIn("RDMA: off: the device does not have it\n", gpu("attr=116:0;attr=124:0", within=card))
        self.assertIn("RDMA: off: the driver exports no dma-buf", gpu("attr=124:0", within=card))

    def test_direct_storage_is_on_or_off_with_the_reason(self):
        self.assertIn("ok     gpu        GPUDirect Storage: on, by nvidia-fs 2.17", gpu(""))
        self.assertIn("on, by the kernel's peer DMA", gpu("", storage="nvfs=0;p2p=1"))
        self.assertIn("note   gpu        GPUDirect Storage: off, compatibility mode: the kernel has neither", gpu("", storage="nvfs=0"))
        self.assertIn("off, the library does not start: 5001, nvidia-fs is not loaded: files go through pinned host memory",
                      gpu("", storage="fail=cuFileDriverOpen:1:5001"))
        self.assertIn("off, no library: /nowhere/libcufile.so.0", gpu("", libcufile="/nowhere/libcufile.so.0"))

    def test_a_host_without_a_driver(self):
        run = gpu("", libcuda="/nowhere/libcuda.so.1")
        self.assertIn("note   gpu        no driver: /nowhere/libcuda.so.1", run)
        self.assertIn("blocks are read from host memory", run)

    def test_too_few_open_files(self):
        h = self.host()
        h.write(f"/proc/{PID}/limits", LIMITS.replace("65536 ", "1024  "))
        self.finds(h, "nofile", "1024 open files", "LimitNOFILE=65536")

    def test_a_memory_limit_of_a_group_above(self):
        h = self.host()
        h.write("/sys/fs/cgroup/system.slice/memory.max", str(100 << 20))
        self.finds(h, "cgroup", "memory.max 100 MiB: the arena of 64.0 MiB", "MemoryMax=infinity")

    def test_protection_by_file_mode_only(self):
        h = self.host()
        h.text(PROTECTION, "file mode 0600 only: other users cannot write, the same user and root can")
        self.finds(h, "protection", "file mode 0600 only", "readonly_dir=/run/kvshm-huge-ro/main")

    def test_untrusted_clients_are_named_by_uid(self):
        h = self.host()
        h.trust_all(trusted=0)
        self.finds(h, "trust", "1 users are untrusted: staged, no direct GPU path", "trusted_uids=1003")

    def test_socket_permissions(self):
        for mode, text in ((0o666, "every user"), (0o600, "nobody but uid")):
            h = self.host()
            h.mode("/run/kvshm/main/kvshm.sock", mode)
            self.finds(h, "socket", text, "socket_mode=0660")
        h = self.host()
        os.remove(h.path("/run/kvshm/main/kvshm.sock"))
        self.finds(h, "socket", "No such file")

    def test_a_statistics_page_for_everybody(self):
        h = self.host()
        h.write("/run/kvshm/main/stats.mode", "")
        with open(h.path("/run/kvshm/main/stats"), "wb"):
            pass
        h.mode("/run/kvshm/main/stats", 0o644)
        self.finds(h, "stats", "mode 0644")

    def test_a_statistics_page_that_its_readers_group_has_not(self):
        h = self.host()
        h.write("/etc/group", f"root:x:0:\nkvshm-stat:x:{os.getegid()}:kvshm\n")
        self.assertEqual(self.changes(h), {})
        h.write("/etc/group", f"root:x:0:\nkvshm-stat:x:{os.getegid() + 1}:\n")
        self.finds(h, "stats", f"not {os.getegid() + 1}: who is in kvshm-stat", "SupplementaryGroups=kvshm-stat")

    def test_a_daemon_of_another_abi_than_the_library(self):
        h = self.host()
        at, = struct.unpack_from("<I", h.page, 72)
        index = next(i for i in range(256) if h.page[at + 64 * i:].startswith(b"kvshm_abi\0"))
        self.assertEqual(struct.unpack_from("<Q", h.page, struct.unpack_from("<I", h.page, 76)[0] + 8 * index)[0], ABI)
        struct.pack_into("<Q", h.page, struct.unpack_from("<I", h.page, 76)[0] + 8 * index, 99)
        self.finds(h, "abi", f"the daemon's is 99, that of clients of this release {ABI}", "systemctl restart kvshmd@main")

    def test_a_logout_that_removes_the_arena(self):
        if os.geteuid():
            self.skipTest("only root can give a directory to a user of 1000 or more")
        h = self.host(mounts=ON_TMPFS)
        h.text(MEMORY_DIR, "/dev/shm/kvshm-1000/main")
        h.text(SOCKET, "/tmp/kvshm-1000/main/kvshm.sock")
        os.makedirs(h.path("/dev/shm/kvshm-1000/main"))
        os.makedirs(h.path("/tmp/kvshm-1000/main"))
        os.rename(h.path("/run/kvshm/main/kvshm.sock"), h.path("/tmp/kvshm-1000/main/kvshm.sock"))
        os.chown(h.path("/dev/shm/kvshm-1000/main"), 1000, 1000)
        self.finds(h, "logout", "uid 1000", "RemoveIPC=no")
        h.write("/etc/systemd/logind.conf", "[Login]\nRemoveIPC=no\n")
        self.assertEqual(self.changes(h), {})

    def test_a_dead_daemon_and_none_at_all(self):
        h = self.host(files={p: t for p, t in HOST.items() if str(PID) not in p})
        h.write("/proc/self/limits", LIMITS)
        h.write("/proc/self/cgroup", "0::/\n")
        self.finds(h, "daemon", "dead; clients go on hitting", "systemctl start kvshmd@main")
        os.remove(h.path("/run/kvshm/main/stats"))
        self.finds(h, "daemon", "no daemon was here yet", "kvshmd -i main &", with_page=False)

    def test_a_page_of_another_version_is_status_4(self):
        h = self.host()
        struct.pack_into("<I", h.page, 8, 99)
        run = h.doctor()
        self.assertEqual((run.returncode, run.stdout), (4, ""))
        self.assertIn("another version", run.stderr)

    def test_wrong_options_are_status_2(self):
        self.assertEqual(subprocess.run([TOOL, "doctor", "--nope"], capture_output=True).returncode, 2)
        self.assertEqual(subprocess.run([TOOL, "doctor", "word"], capture_output=True).returncode, 2)
        self.assertEqual(subprocess.run([TOOL, "doctor", "-i", "../x"], capture_output=True).returncode, 2)


if __name__ == "__main__":
    unittest.main()
