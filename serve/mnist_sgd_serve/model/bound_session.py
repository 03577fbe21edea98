"""A session's run on one image, through buffers that are bound to the session once.

Without the binding onnxruntime makes a new input and output value at each run, which for a single
image is a third of the time. Larger batches gain nothing.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class BoundSession:
    """Runs a session on one image at a time; not thread-safe.

    Args:
        session: of an artifact.
    """

    def __init__(self, session: "InferenceSession") -> None:
        from onnxruntime import OrtValue

        self._image = np.zeros((1, 28, 28), np.uint8)
        self._probability = np.zeros((1, 1), np.float32)
        self._session = session
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("image", OrtValue.ortvalue_from_numpy(self._image))
        self._binding.bind_ortvalue_output(
            "probability", OrtValue.ortvalue_from_numpy(self._probability)
        )

    def run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the probability, float32 `[1]`, of uint8 `[1, 28, 28]`."""
        self._image[:] = image
        self._session.run_with_iobinding(self._binding)
        probability: NDArray[np.float32] = self._probability[0].copy()
        return probability
