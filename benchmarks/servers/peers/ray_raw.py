"""Ray Serve, bytes in and out; one replica."""

import os
import signal

import numpy as np
import ray
from ray import serve
from session import PORT, Session
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Mnist:
    """The model as Ray wants it."""

    def __init__(self) -> None:
        self.session = Session()

    async def __call__(self, request: Request) -> Response:
        """Answer the probabilities, float32, of images of 784 bytes."""
        images = np.frombuffer(await request.body(), np.uint8).reshape(-1, 28, 28)
        return Response(self.session.run(images).tobytes())


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=2)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Mnist.bind())
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    ray.shutdown()
