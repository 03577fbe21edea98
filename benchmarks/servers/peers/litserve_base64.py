"""LitServe, images in base64 within JSON; one worker."""

import base64
from typing import Any

import litserve
import numpy as np
from numpy.typing import NDArray
from session import PORT, Session


class Mnist(litserve.LitAPI):
    """The model as LitServe wants it."""

    def setup(self, device: str) -> None:
        """Open the session."""
        self.session = Session()

    def decode_request(self, request: dict[str, Any]) -> NDArray[np.uint8]:
        """Unpack the images."""
        return np.frombuffer(base64.b64decode(request["images"]), np.uint8).reshape(-1, 28, 28)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the model."""
        return self.session.run(images)

    def encode_response(self, probabilities: NDArray[np.float32]) -> dict[str, Any]:
        """Pack the answer."""
        return {"probabilities": probabilities[:, 0].tolist()}


if __name__ == "__main__":
    # Its documentation advises the fast queue for more than 100 requests a second.
    server = litserve.LitServer(Mnist(), accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="error")
