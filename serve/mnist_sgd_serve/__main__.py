"""`python -m mnist_sgd_serve` serves an artefact."""

import sys

from mnist_sgd_serve.command import main

sys.exit(main())
