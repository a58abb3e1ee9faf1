"""One-dimensional `.npy` files written piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np


class GrowingArray:
    """A one-dimensional `.npy` file whose length is known at the end: a context manager."""

    def __init__(self, file: Path, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.length = 0
        self._stream = file.open("wb")
        self._head()

    def append(self, values: np.ndarray) -> None:
        """Write some more values."""
        self._stream.write(np.ascontiguousarray(values, self.dtype).data)
        self.length += len(values)

    def close(self) -> None:
        """Write the length into the head, for which numpy leaves room, and close the file."""
        self._stream.seek(0)
        self._head()
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _head(self) -> None:
        descr = np.lib.format.dtype_to_descr(self.dtype)
        np.lib.format.write_array_header_1_0(
            self._stream, {"descr": descr, "fortran_order": False, "shape": (self.length,)}
        )
