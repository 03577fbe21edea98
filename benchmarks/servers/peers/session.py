"""The session that all peers run: one thread, as ours has it; more only spin on a small model."""

import os
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

PORT = int(os.environ.get("PORT", "0"))


class Session:
    """The model whose path is in the environment variable MODEL."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session: Any = onnxruntime.InferenceSession(
            os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
        )

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probabilities, float32 `[N, 1]`, of uint8 `[N, 28, 28]`."""
        probabilities: NDArray[np.float32] = self.session.run(None, {"image": images})[0]
        return probabilities
