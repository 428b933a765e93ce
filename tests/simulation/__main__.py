"""Replays seeds of the simulation: ``python -m tests.simulation SEED [LAST]``; the exit code is 1 where one fails."""

from __future__ import annotations

import sys
import traceback

import torch

from tests.simulation.campaign import Campaign


def main() -> int:
    """Runs the seeds from the first argument to the second, and prints what each drew."""
    torch.set_num_threads(1)
    first = int(sys.argv[1])
    failed = 0
    for seed in range(first, int(sys.argv[2]) + 1 if len(sys.argv) > 2 else first + 1):
        campaign = Campaign(seed)
        try:
            outcome = campaign.run()
        except Exception:  # noqa: BLE001 - whatever went wrong under a seed is what is looked for
            failed += 1
            text = f"seed {seed} ({campaign.kind}) FAILED\n{traceback.format_exc()}"
        else:
            text = f"seed {seed} ({outcome.kind}): {dict(outcome.counts)}"
        sys.stdout.write(f"{text}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
