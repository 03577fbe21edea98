"""The worker's side of `workers`: a line of JSON is a question, a line of JSON the answer."""

import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["serve"]


def serve(make: Callable[[], Callable[[Any], object]]) -> None:
    """Answer until standard input ends.

    Args:
        make: imports and prepares what is needed, and gives what answers. What either prints
            goes to standard error, where it is no answer.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    answer = make()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers)
