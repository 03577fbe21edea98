"""The summary names a model's layers, their outputs and their parameters, and changes nothing."""

import json

import pytest
import torch
from torch import Tensor, nn

from mnist_sgd import create_model, summary
from mnist_sgd.cli import main
from mnist_sgd.models.summary import Layer, layers

MLP = """\
layer          output   parameters
0      Linear  [B, 30]      23,550
1      ReLU    [B, 30]           -
2      Linear  [B, 1]           31
total                       23,581"""


def test_the_chapters_network() -> None:
    assert summary(create_model("mlp", 0)) == MLP


def test_the_command_prints_it_and_gives_it_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--model", "mlp"]) == 0
    assert capsys.readouterr().out == MLP + "\n"
    assert main(["summary", "--model", "mlp", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"name": "0", "kind": "Linear", "output": [30], "parameters": 23_550},
        {"name": "1", "kind": "ReLU", "output": [30], "parameters": 0},
        {"name": "2", "kind": "Linear", "output": [1], "parameters": 31},
    ]


class Twice(nn.Module):
    """A layer that is called twice, a parameter of its own, a frozen layer, one never called."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.same = nn.Linear(784, 784)
        self.frozen = nn.Linear(784, 1).requires_grad_(False)
        self.unused = nn.Linear(2, 2)
        self.drop = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.frozen(self.drop(self.same(self.same(x))))
        return y * self.scale.sum()


def test_layers_come_as_they_are_called_and_parameters_count_once() -> None:
    model = Twice()
    assert layers(model) == [
        Layer("same", "Linear", (784,), 615_440),
        Layer("same", "Linear", (784,), 0),
        Layer("drop", "Dropout", (784,), 0),
        Layer("frozen", "Linear", (1,), 785),
        Layer("", "Twice", (1,), 3),
    ]
    assert summary(model).splitlines()[-2:] == [
        "total                                       616,234",
        "of which not trained                            785",
    ]


def test_the_model_is_unchanged() -> None:
    model = nn.Sequential(nn.Linear(784, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    summary(model)
    assert [module.training for module in model] == [True, True, False, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(module._forward_hooks for module in model.modules())


def test_images_may_have_another_shape() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 28), nn.Flatten(), nn.Linear(2, 1))
    assert [layer.output for layer in layers(model, (1, 28, 28))] == [(2, 1, 1), (2,), (1,)]
