"""The training service: sets of pictures, trainings, and the model that is served, over HTTP.

Files in the home folder are the only truth; everything else can be deleted and is rebuilt. The
service's own process never imports torch. `Client` talks to a running one.
"""

from mnist_sgd.workbench.client import Client, WorkbenchError

__all__ = ["Client", "WorkbenchError"]
