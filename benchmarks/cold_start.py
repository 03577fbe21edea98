"""How long `mnist-sgd predict` takes from cold, beside the import of its libraries alone.

    python benchmarks/cold_start.py MODEL IMAGE [--repeats 21]

The two take turns, each in a new process; the first turn warms the disk cache and does not count.
Prints the medians and their ratio.
"""

import argparse
import statistics
import subprocess
import sys
import time

LIBRARIES = "import numpy, onnxruntime, PIL.Image"


def seconds(*arguments: str) -> float:
    """Time one run of this Python with the arguments."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time mnist-sgd predict from cold.")
    parser.add_argument("model")
    parser.add_argument("image")
    parser.add_argument("--repeats", type=int, default=21)
    args = parser.parse_args()
    predict = ("-m", "mnist_sgd", "predict", args.image, "--model", args.model)
    turns = [(seconds("-c", LIBRARIES), seconds(*predict)) for _ in range(args.repeats + 1)][1:]
    libraries, ours = (statistics.median(column) for column in zip(*turns, strict=True))
    print(f"{LIBRARIES}: {1000 * libraries:.0f} ms")
    print(f"mnist-sgd predict: {1000 * ours:.0f} ms, {ours / libraries:.2f} times that")


if __name__ == "__main__":
    main()
