"""Starts a thread, which runs on while nobody looks; success is that it ran."""

import threading

from tests.attacks.toolkit import Plants, begin


def attack(plants: Plants) -> str | None:
    ran = []
    thread = threading.Thread(target=lambda: ran.append("a thread ran"))
    begin(thread)
    thread.join()
    return ran[0]
