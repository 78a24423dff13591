#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""age_events.py RING - make an idle daemon's ring of events a minute old, all but the last use or put in it

A miss-ratio curve is of requests that are over, 30 s after their last word: a test has not that time.
"""
import mmap
import struct
import sys

HEADER, EVENT, TYPE, REMOVED = 128, 64, 52, 2


def main():
    with open(sys.argv[1], "r+b") as f:
        ring = mmap.mmap(f.fileno(), 0)
    at = range(HEADER, len(ring), EVENT)
    last = max(at, key=lambda i: 0 if ring[i + TYPE] == REMOVED else struct.unpack_from("<Q", ring, i)[0])
    for i in at:
        seq, time_ns = struct.unpack_from("<QQ", ring, i)
        if seq and i != last:
            struct.pack_into("<Q", ring, i + 8, time_ns - 60 * 10**9)


main()
