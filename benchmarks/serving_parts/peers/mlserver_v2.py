"""MLServer with a custom runtime, v2 JSON; one worker."""

import asyncio

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from session import PORT, Session


class Mnist(MLModel):
    """The model as MLServer wants it."""

    async def load(self) -> bool:
        """Open the session."""
        self.session = Session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request of the protocol."""
        probabilities = self.session.run(NumpyCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output("probability", probabilities)],
        )


async def serve() -> None:
    """Serve until stopped."""
    settings = Settings(
        host="127.0.0.1",
        http_port=PORT,
        grpc_port=PORT + 1,
        metrics_port=PORT + 2,
        parallel_workers=WORKERS,
        debug=False,
    )
    await MLServer(settings).start([ModelSettings(name="mnist_sgd", implementation=Mnist)])


WORKERS = 0

if __name__ == "__main__":
    asyncio.run(serve())
