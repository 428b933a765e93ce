"""Starts threads by the hundred; success is a hundred that run at once."""

import threading

from tests.attacks.toolkit import Plants, begin


def attack(plants: Plants) -> str | None:
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait, daemon=True) for _ in range(100)]
    for thread in threads:
        begin(thread)
    running = threading.active_count() - 1
    stop.set()
    return f"{running} threads" if running >= 100 else None
