"""Save and restore the states of random number generators."""

import random
from typing import Any

import numpy as np
import torch


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the states of torch's generators that a model on a device draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state(*_which(device))
    return state


def set_random_state(device: torch.device, state: dict[str, torch.Tensor]) -> None:
    """Restore what `random_state` returned; generators without a state there are left alone."""
    if "cpu" in state:
        torch.set_rng_state(state["cpu"])
    if device.type in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type], *_which(device))


def global_random_states() -> tuple[Any, Any]:
    """Return the states of Python's and NumPy's global generators."""
    return random.getstate(), np.random.get_state()


def put_back_global(states: tuple[Any, Any]) -> None:
    """Restore what `global_random_states` returned."""
    random.setstate(states[0])
    np.random.set_state(states[1])


def _which(device: torch.device) -> tuple[torch.device, ...]:
    """Return the arguments that select a device's generator: none on Apple's GPUs."""
    return () if device.type == "mps" else (device,)
