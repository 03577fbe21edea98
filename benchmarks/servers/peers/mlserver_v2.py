"""MLServer with a custom runtime, v2 JSON; the model runs in the server's own process."""

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
        parallel_workers=0,  # 1.7.1 cannot start them on Python 3.11 with uvloop 0.23
        debug=False,
    )
    await MLServer(settings).start([ModelSettings(name="mnist_sgd", implementation=Mnist)])


if __name__ == "__main__":
    asyncio.run(serve())
