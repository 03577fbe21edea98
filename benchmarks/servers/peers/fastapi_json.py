"""FastAPI with a pydantic model, JSON in and out, as its tutorial does it."""

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from session import PORT, Session

session = Session()
app = FastAPI()


class Images(BaseModel):
    """Images as rows of 784 numbers."""

    images: list[list[int]]


class Probabilities(BaseModel):
    """One for each image."""

    probabilities: list[float]


@app.post("/predict")
async def predict(request: Images) -> Probabilities:
    """Answer; the model takes microseconds, so no thread is worth its while."""
    images = np.array(request.images, np.uint8).reshape(-1, 28, 28)
    return Probabilities(probabilities=session.run(images)[:, 0].tolist())


if __name__ == "__main__":
    uvicorn.run(
        app, port=PORT, http="httptools", loop="uvloop", access_log=False, log_level="error"
    )
