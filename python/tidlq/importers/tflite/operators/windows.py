"""Padding schemes of sliding windows, as explicit pads."""

from __future__ import annotations

from collections.abc import Sequence

from tidlq.importers.tflite.rewrite import Rewrite

_SAME, _VALID = range(2)


def explicit_pads(
    rewrite: Rewrite,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[int, ...]:
    """Pads as ONNX lists them: all at the beginning, then all at the end.

    SAME pads by  max((ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0),
    the smaller half in front.

    Args:
        rewrite: the operator, for its scheme and for errors.
        sizes: of the axes that the window slides over.
        kernel: one number per such axis; so are strides and dilations.
        strides: steps between windows.
        dilations: steps between taps.

    Raises:
        ModelError: The scheme is unknown or a number is not positive.
    """
    if min((*kernel, *strides, *dilations)) < 1:
        raise rewrite.fault(
            f"has a kernel of {list(kernel)}, strides {list(strides)} and dilations "
            f"{list(dilations)}; all must be positive."
        )
    scheme = rewrite.integer("Padding")
    if scheme not in (_SAME, _VALID):
        raise rewrite.fault(f"has the padding scheme {scheme}; SAME is 0 and VALID is 1.")
    totals = [0] * len(sizes)
    if scheme == _SAME:
        for axis, (size, k, s, d) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
            totals[axis] = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
    begin = [total // 2 for total in totals]
    return (*begin, *(total - half for total, half in zip(totals, begin, strict=True)))
