"""The states of the generators of random numbers, to note and to put back."""

import random
from typing import Any

import numpy as np
import torch

__all__ = ["global_random_states", "put_back_global", "random_state", "set_random_state"]


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of torch's generators that a model on a device draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state(*_which(device))
    return state


def set_random_state(device: torch.device, state: dict[str, torch.Tensor]) -> None:
    """Put the generators back to a state of `random_state`; those that it lacks are left alone."""
    if "cpu" in state:
        torch.set_rng_state(state["cpu"])
    if device.type in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type], *_which(device))


def global_random_states() -> tuple[Any, Any]:
    """The states of Python's and NumPy's global generators."""
    return random.getstate(), np.random.get_state()


def put_back_global(states: tuple[Any, Any]) -> None:
    """Put back what `global_random_states` gave."""
    random.setstate(states[0])
    np.random.set_state(states[1])


def _which(device: torch.device) -> tuple[torch.device, ...]:
    """What a device's generator is asked for by: there is one alone on Apple's GPUs."""
    return () if device.type == "mps" else (device,)
