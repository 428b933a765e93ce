"""Which nodes of a cluster get the next workers: a pure choice.

Nouns: none beyond the cluster's nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence


def place(
    wanted: int,
    cpus: Mapping[str, int],
    seated: Sequence[str],
    refused: Collection[str] = (),
    failures: Mapping[str, int] | None = None,
) -> list[str]:
    """Returns the nodes that get a worker each, so that at most ``wanted`` run: no more on a node than it has CPUs.

    Nodes where starting failed least come first, then the emptiest, then by name.

    Args:
        cpus: node -> its CPUs. seated: the node of every worker that runs or starts. failures: node -> failed starts.
    """
    counts, failed = Counter(seated), failures or {}
    chosen: list[str] = []
    while len(seated) + len(chosen) < wanted:
        free = [node for node, num in cpus.items() if node not in refused and counts[node] < num]
        if not free:
            break
        node = min(free, key=lambda node: (failed.get(node, 0), counts[node] / cpus[node], node))
        counts[node] += 1
        chosen.append(node)
    return chosen
