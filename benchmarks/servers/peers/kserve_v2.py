"""KServe with a custom predictor, v2."""

from typing import Any
from uuid import uuid4

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from session import PORT, Session


class Mnist(Model):
    """The model as KServe wants it."""

    def load(self) -> bool:
        """Open the session."""
        self.session = Session()
        self.ready = True
        return True

    async def predict(self, payload: InferRequest, headers: Any = None, **_: Any) -> InferResponse:
        """Answer a request of the protocol."""
        probabilities = self.session.run(payload.inputs[0].as_numpy())
        output = InferOutput("probability", list(probabilities.shape), "FP32")
        output.set_data_from_numpy(probabilities, binary_data=False)
        return InferResponse(payload.id or str(uuid4()), self.name, [output])


if __name__ == "__main__":
    model = Mnist("mnist_sgd")
    model.load()
    ModelServer(http_port=PORT, enable_grpc=False, workers=1, access_log_format=None).start([model])
