"""Windows that slide over the last axes of a value: what convolutions and poolings share, before anything is computed.

Nouns: *window* (kernel, stride and padding of every sliding axis), *offset* (one place inside the kernel).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from population.errors import InvalidGraph
from population.operations.attributes import per_axis
from population.operations.dimensions import Dim, constant, fixed, format_dim
from population.operations.registry import Attributes


@dataclass(frozen=True)
class Window:
    """How a kernel slides, one number an axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    @staticmethod
    def of(attributes: Attributes, axes: int) -> Window:
        """The window of a node; a stride that is not given is the kernel's size."""
        kernel = per_axis(attributes["kernel"], axes)
        stride = per_axis(attributes["stride"], axes) if "stride" in attributes else kernel
        return Window(kernel, stride, per_axis(attributes["padding"], axes))

    def output(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of the result on an input of these sizes."""
        return tuple((size + 2 * p - k) // s + 1 for size, k, s, p in zip(sizes, *self._parts(), strict=True))

    def infer(self, axes: tuple[Dim, ...]) -> tuple[Dim, ...]:
        """The sliding axes of the result.

        Raises: InvalidGraph where an axis is symbolic or smaller than the kernel.
        """
        found = []
        for dim, size, padding in zip(axes, self.kernel, self.padding, strict=True):
            width = constant(dim)
            if width is None:
                raise InvalidGraph(
                    f"a window slides over axes of fixed size only, got {format_dim(dim)}: reshape first"
                )
            if width + 2 * padding < size:
                raise InvalidGraph(
                    f"kernel {size} is larger than the axis of {width} with padding {padding} on both sides"
                )
            found.append(width)
        return tuple(fixed(size) for size in self.output(tuple(found)))

    def offsets(self, sizes: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
        """Yields (offset, places of the result, places of the input they read there), without what lies in the padding."""
        for offset in itertools.product(*(range(size) for size in self.kernel)):
            each = [
                _overlap(place, size, stride, padding, out)
                for place, size, stride, padding, out in zip(
                    offset, sizes, self.stride, self.padding, self.output(sizes), strict=True
                )
            ]
            yield offset, tuple(result for result, _ in each), tuple(source for _, source in each)

    def _parts(self) -> tuple[tuple[int, ...], ...]:
        return self.kernel, self.stride, self.padding


def _overlap(offset: int, size: int, stride: int, padding: int, out: int) -> tuple[slice, slice]:
    first = max(0, -(-(padding - offset) // stride))
    stop = min(out, (size - 1 + padding - offset) // stride + 1)
    if stop <= first:
        return slice(0, 0), slice(0, 0)
    start = first * stride + offset - padding
    return slice(first, stop), slice(start, start + (stop - first - 1) * stride + 1, stride)
