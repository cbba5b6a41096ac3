"""Registration with torch.library, shared by the op files."""

from __future__ import annotations

import torch

# define/impl instead of custom_op: a third of the cost per call (pytorch#177109).
LIBRARY = torch.library.Library("pydegrade", "DEF")


def layout_arguments() -> str:
    """Schema text of a packed layout: int64 offset [B], int32 height [B], int32 width [B], planes per row."""
    return "Tensor offset, Tensor height, Tensor width, int channels"
