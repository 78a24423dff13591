# SPDX-License-Identifier: Apache-2.0
"""Pods without a container engine: user, PID, mount, IPC and network namespaces, and volumes as a manifest names them.

A container here has the files of this machine; what a manifest mounts lies over an empty /run and /etc/kvshm.
"""
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile

_libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
IS_ROOT = os.geteuid() == 0


def _check(ret):
    if ret < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _die_with_parent():
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))


def _mount(source, target, kind=None, flags=0, data=None):
    _check(_libc.mount(*(x if x is None else os.fsencode(x) for x in (source, target, kind)), ctypes.c_ulong(flags),
                       data if data is None else data.encode()))


def _bind(source, target, is_readonly):
    os.makedirs(target, exist_ok=True)
    _mount(source, target, flags=MS_BIND | MS_REC)
    if is_readonly:
        _mount(None, target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def _map_ids(pid):
    """Root of this machine may map all of it, anybody else only himself, as root."""
    if not IS_ROOT:
        with open(f"/proc/{pid}/setgroups", "w") as f:
            f.write("deny")
    for name, own in (("uid_map", os.geteuid()), ("gid_map", os.getegid())):
        with open(f"/proc/{pid}/{name}", "w") as f:
            f.write("0 0 65536" if IS_ROOT else f"0 {own} 1")


class Pod:
    """Namespaces held by a process that is PID 1 of them; containers are run in them with run() and start()."""

    def __init__(self, volumes, has_own_pids=True):
        """volumes: name -> options of a tmpfs of this pod, or a folder outside.

        Without PIDs of its own it is in this machine's PID namespace, and who starts containers in it ends them.
        """
        self.namespaces = NEWUSER | NEWNS | NEWIPC | NEWNET | (NEWPID if has_own_pids else 0)
        self.dir = tempfile.mkdtemp(prefix="kvshm-pod.")
        self.volumes = volumes
        to_parent, to_child = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                self._become(to_parent, to_child)
            except BaseException as error:      # nothing of the test may run on in the child
                os.write(to_parent[1], (str(error) or "failed").encode())
            os._exit(1)
        os.close(to_parent[1])
        os.close(to_child[0])
        from_child = open(to_parent[0], encoding="utf-8")
        self._wait_for("unshared", from_child)
        _map_ids(self.pid)
        os.write(to_child[1], b"mapped")
        said = {self._wait_for("", from_child) for _ in range(2)}       # in either order
        self.init = int((said - {"ready"}).pop())
        from_child.close()
        os.close(to_child[1])

    def _wait_for(self, word, fd):
        got = fd.readline().strip()
        if word and got != word or not got:
            os.waitpid(self.pid, 0)
            shutil.rmtree(self.dir, ignore_errors=True)
            raise OSError(got or "the pod ended")
        return got

    def _become(self, to_parent, to_child):
        os.close(to_parent[0])
        os.close(to_child[1])
        _check(_libc.unshare(self.namespaces))
        os.write(to_parent[1], b"unshared\n")
        os.read(to_child[0], 16)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        _die_with_parent()
        pid = os.fork()
        if pid:
            os.write(to_parent[1], b"%d\n" % pid)
            os.waitpid(pid, 0)
            os._exit(0)
        _die_with_parent()
        self._set_up()
        os.write(to_parent[1], b"ready\n")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            signal.pause()

    def _set_up(self):
        _mount(None, "/", flags=MS_REC | MS_PRIVATE)
        if self.namespaces & NEWPID:
            _mount("proc", "/proc", "proc")
        for name, volume in self.volumes.items():
            folder = os.path.join(self.dir, name)
            os.mkdir(folder)
            if os.path.isabs(volume):
                _mount(volume, folder, flags=MS_BIND | MS_REC)
            else:
                _mount("none", folder, "tmpfs", data=volume)

    def _command(self, mounts, argv, uid, gid, groups, env):
        """nsenter, then this file again: mounts, user, and the program of the container."""
        spec = repr([self.dir, mounts, argv, uid if IS_ROOT else 0, gid if IS_ROOT else 0, groups if IS_ROOT else None, env])
        return ["nsenter", "-t", str(self.init), "-U", "-m", "-i", "-n", *(["-p"] if self.namespaces & NEWPID else []), "-S", "0", "-G", "0",
                *(() if IS_ROOT else ("--preserve-credentials",)), sys.executable, __file__, spec]

    def start(self, mounts, argv, uid=0, gid=0, groups=(), env=None, **options):
        return subprocess.Popen(self._command(mounts, argv, uid, gid, list(groups), env or {}), text=True,
                                stdin=subprocess.DEVNULL, **options)

    def run(self, mounts, argv, uid=0, gid=0, groups=(), env=None, timeout=60):
        return subprocess.run(self._command(mounts, argv, uid, gid, list(groups), env or {}), text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)

    def end(self):
        os.kill(self.init, signal.SIGKILL)      # and with it all that runs in the pod
        os.waitpid(self.pid, 0)
        shutil.rmtree(self.dir, ignore_errors=True)


def kill(container):
    """What start() made: the program itself is the child of nsenter."""
    with open(f"/proc/{container.pid}/task/{container.pid}/children", encoding="ascii") as f:
        for child in f.read().split():
            os.kill(int(child), signal.SIGKILL)
    container.wait(timeout=20)


def _writable_over(path):
    """What is written below path, folders for mounts too, is in memory and this container's."""
    _mount("none", "/mnt", "tmpfs")
    os.mkdir("/mnt/upper")
    os.mkdir("/mnt/work")
    _mount("overlay", path, "overlay", data=f"lowerdir={path},upperdir=/mnt/upper,workdir=/mnt/work")


def _container(directory, mounts, argv, uid, gid, groups, env):
    """A mount namespace of the container's own; mounts: (volume or folder, path, is read-only)."""
    _check(_libc.unshare(NEWNS))
    _mount("none", "/run", "tmpfs", data="mode=0755")
    if any(target.startswith("/etc/") for _, target, _ in mounts):
        _writable_over("/etc")
    for source, target, is_readonly in mounts:
        _bind(os.path.join(directory, source), target, is_readonly)
    _mount(None, "/", flags=MS_REMOUNT | MS_BIND | MS_RDONLY)
    if groups is not None:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    os.execvpe(argv[0], argv, {"PATH": os.environ["PATH"], **env})


if __name__ == "__main__":
    import ast
    _container(*ast.literal_eval(sys.argv[1]))
