"""Makes the system calls that are newer than most lists of them; success is one that looks at its (wrong) arguments.

A filter has to allow what it knows, not to forbid what it knew.
"""

import errno

from tests.attacks.toolkit import Plants, call

NEW = range(463, 520)


def attack(plants: Plants) -> str | None:
    answered = []
    for number in NEW:
        try:
            answered.append(f"{number} returned {call(number, -1, 0, 0, 0, 0, 0)}")
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                answered.append(f"{number} said {errno.errorcode[error.errno or 0]}")
    return "; ".join(answered) or None
