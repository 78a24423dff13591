#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An engine in a container: it puts a block, and has kvshm-gpud copy it into a buffer on the (fake) device."""
import os
import socket

from gpulib import Engine, FakeCuda
from test_gpud import BLOCK, Client, content


class Sockets:
    """Where $KVSHM_SOCKET says that daemon and kvshm-gpud are."""

    def __init__(self):
        self.socket = os.environ["KVSHM_SOCKET"]
        self.path = os.path.join(os.path.dirname(self.socket), "gpud.sock")

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(10)
        s.connect(self.socket)
        return s


def main():
    where, cuda = Sockets(), FakeCuda()
    client, engine = Client(where), Engine(where)
    device = cuda.alloc(BLOCK)
    token, error = engine.register(device, cuda.piece(device, BLOCK))
    assert not error, f"the buffer is refused: {os.strerror(-error)}"
    client.ask(token, [client.put(1, content(1))])
    assert client.pop()[1] == 1, "the copy failed"
    assert cuda.read(device, BLOCK) == content(1), "other bytes"
    print("the block has landed")


main()
