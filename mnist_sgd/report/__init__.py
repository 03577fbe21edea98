"""The folder of a run, and the page that shows all of it; runs beside each other.

`writer.write_run` makes the folder of a trained `Learner`, and `mnist-sgd train --run NAME` does so
while it trains; `reader` and `comparison` read folders again, and need no torch.
"""
