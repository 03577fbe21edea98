"""No server: `session.run` in a loop, on one image and on 256; prints both as runs a second."""

import json
import time

import numpy as np
from session import Session

SECONDS = 1.0


def runs(session: Session, count: int) -> float:
    """Runs a second on this many images."""
    images = np.zeros((count, 28, 28), np.uint8)
    for _ in range(100):
        session.run(images)
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < SECONDS:
        session.run(images)
        done += 1
    return done / passed


if __name__ == "__main__":
    one = Session()
    print(json.dumps({"one": runs(one, 1), "batch": 256 * runs(one, 256)}))
