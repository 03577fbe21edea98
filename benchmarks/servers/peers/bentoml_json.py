"""BentoML, JSON in and out; one worker."""

import os
import sys

import bentoml
import numpy as np
from session import PORT, Session


@bentoml.service(workers=1, metrics={"enabled": False})
class Mnist:
    """The model as BentoML wants it."""

    def __init__(self) -> None:
        self.session = Session()

    @bentoml.api
    def predict(self, images: np.ndarray) -> np.ndarray:
        """Run the model."""
        return self.session.run(images.astype(np.uint8).reshape(-1, 28, 28))[:, 0]


if __name__ == "__main__":
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    here = os.path.dirname(os.path.abspath(__file__))
    command = ["serve", "bentoml_json:Mnist", "--port", str(PORT), "--working-dir", here, "-q"]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *command])
