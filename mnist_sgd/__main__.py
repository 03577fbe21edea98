"""`python -m mnist_sgd` is the command `mnist-sgd`."""

import sys

from mnist_sgd.cli import main

sys.exit(main())
