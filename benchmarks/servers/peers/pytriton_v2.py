"""PyTriton, which brings Triton, v2 with binary tensors."""

import os
import sysconfig

import numpy as np
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from session import PORT, Session

session = Session()


@batch
def infer(image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Run the model on what Triton has put together."""
    return [session.run(image)]


if __name__ == "__main__":
    # Triton embeds a Python, which must be the one whose library it will find.
    os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    config = TritonConfig(
        http_address="127.0.0.1", http_port=PORT, grpc_port=PORT + 1, metrics_port=PORT + 2
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="mnist_sgd",
            infer_func=infer,
            inputs=[Tensor(name="image", dtype=np.uint8, shape=(28, 28))],
            outputs=[Tensor(name="probability", dtype=np.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=256),
        )
        triton.serve()
