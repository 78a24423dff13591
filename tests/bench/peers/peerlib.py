# SPDX-License-Identifier: Apache-2.0
"""peerlib - how the peers in Python measure a call, and the lines that peers.c prints too"""
import statistics
import time


def timed(call):
    """Return: its result, seconds."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def tell(store, work, times):
    times.sort()
    print(store, work, "p50_us", statistics.median(times) * 1e6)
    print(store, work, "p99_us", times[int(0.99 * (len(times) - 1))] * 1e6)
