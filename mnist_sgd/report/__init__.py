"""Run folders, the report of a run, and comparisons of several runs.

`writer.write_run` writes the folder of a trained `Learner`; `mnist-sgd train --run NAME` does so
while it trains. `reader` and `comparison` read run folders, without torch.
"""
