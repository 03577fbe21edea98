"""`python -m mnist_sgd_serve` serves an artifact."""

import sys

from mnist_sgd_serve.command import main

sys.exit(main())
