"""Modules of the kinds that people bring: plain PyTorch, with an example each. Weights are seeded, norms have seen data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

Example = torch.Tensor | tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Case:
    """A module to take in and give out again; ``make`` gives the module and an example of a few samples."""

    name: str
    make: Callable[[torch.Generator], tuple[nn.Module, Example]]


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 3)
    )


class DeepMlp(nn.Module):
    """Batch norms before and after, skips around, every kind of activation."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(12)
        self.layers = nn.ModuleList(nn.Linear(12 if index == 0 else 20, 20) for index in range(5))
        self.norms = nn.ModuleList(nn.BatchNorm1d(20) for _ in range(5))
        self.head = nn.Linear(20, 4)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        value = self.norm(rows)
        activations = (functional.silu, functional.elu, torch.tanh, functional.leaky_relu, functional.hardswish)
        for layer, norm, activation in zip(self.layers, self.norms, activations, strict=True):
            made = activation(norm(layer(value)))
            value = made if made.shape != value.shape else value + made
        return functional.log_softmax(self.head(value), dim=-1)


def vgg() -> nn.Module:
    layers: list[nn.Module] = []
    for reads, makes in ((1, 8), (8, 8), (8, 16)):
        layers += [nn.Conv2d(reads, makes, 3, padding="same", bias=False), nn.BatchNorm2d(makes), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] if makes == 8 else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10))


class Residual(nn.Module):
    """Two residual blocks, the second with a stride and a projection; a global mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
        self.second = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.shortcut = nn.Conv2d(8, 16, 1, stride=2)
        self.head = nn.Linear(16, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        value = self.stem(image)
        value = value + self.first(value)
        value = functional.relu(self.second(value) + self.shortcut(value))
        return self.head(value.mean(dim=(2, 3)))


def signal() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 12, 5, stride=2, padding=2), nn.BatchNorm1d(12), nn.SiLU(), nn.AvgPool1d(2),
        nn.Conv1d(12, 8, 3), nn.Softplus(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip


class GruTagger(nn.Module):
    """A tag for every token: both directions, two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 12)
        self.gru = nn.GRU(12, 10, num_layers=2, batch_first=True, bidirectional=True)
        self.tag = nn.Linear(20, 6)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states, _ = self.gru(self.embed(tokens))
        return self.tag(states)


class GruClassifier(nn.Module):
    """The last state of one direction."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        _, last = self.gru(series.transpose(0, 1))
        return self.head(last[-1])


class Encoder(nn.Module):
    """A transformer encoder with torch's own layers and learned places."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.places = nn.Parameter(torch.randn(9, 16) * 0.1)
        layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(tokens) + self.places).mean(dim=1))


class CausalDecoder(nn.Module):
    """Attention written by hand, queries, keys and values in one layer, each place reading up to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48, bias=False)
        self.project = nn.Linear(16, 16)
        self.head = nn.Linear(16, 30, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        value = self.embed(tokens)
        samples, places, width = value.shape
        parts = self.qkv(self.norm(value)).chunk(3, dim=-1)
        query, key, content = (part.view(samples, places, 4, width // 4).transpose(1, 2) for part in parts)
        read = functional.scaled_dot_product_attention(query, key, content, is_causal=True)
        value = value + self.project(read.transpose(1, 2).reshape(samples, places, width))
        return self.head(value[:, -1])


class TwoInTwoOut(nn.Module):
    """Rows and a signal in; classes and a number out."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Linear(5, 8)
        self.signal = nn.Conv1d(2, 4, 3)
        self.middle = nn.Linear(40, 12)
        self.classes = nn.Linear(12, 3)
        self.number = nn.Linear(12, 1)

    def forward(self, rows: torch.Tensor, signal: torch.Tensor) -> dict[str, torch.Tensor]:
        parts = [torch.tanh(self.rows(rows)), functional.relu(self.signal(signal)).flatten(1)]
        value = functional.silu(self.middle(torch.cat(parts, dim=1)))
        return {"classes": self.classes(value), "number": self.number(value)}


class Siamese(nn.Module):
    """One encoder on two inputs, and one layer applied twice: weights that several nodes share."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8))
        self.turn = nn.Linear(8, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        one, other = self.encode(left), self.encode(right)
        difference = torch.tanh(self.turn(torch.tanh(self.turn(one - other))))
        return self.head(difference * one * other / 2)


class AutoEncoder(nn.Module):
    """What is read is given back, beside the code."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ELU(), nn.Linear(24, 6))
        self.up = nn.Sequential(nn.Linear(6, 24), nn.ELU(), nn.Linear(24, 64), nn.Sigmoid())

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        code = self.down(image)
        return self.up(code).unflatten(1, (1, 8, 8)), code


# ---- scikit-learn's, through torch -----------------------------------------------------------------------------------


def linear_of(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    """A layer with these weights ``[out, in]`` and this bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def from_sklearn(model: object) -> nn.Module:
    """The module of a fitted MLPClassifier, MLPRegressor, LogisticRegression, LinearRegression or Ridge."""
    if hasattr(model, "coefs_"):
        kinds = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid, "identity": nn.Identity}
        layers: list[nn.Module] = []
        for weight, bias in zip(model.coefs_, model.intercepts_, strict=True):
            layers += [linear_of(weight.T, bias), kinds[model.activation]()]
        ends = {"softmax": nn.Softmax(dim=-1), "logistic": nn.Sigmoid(), "identity": nn.Identity()}
        return nn.Sequential(*layers[:-1], ends[model.out_activation_])
    weight, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    linear = linear_of(weight, bias)
    if not hasattr(model, "classes_"):
        return linear
    return nn.Sequential(linear, nn.Softmax(dim=-1) if len(model.classes_) > 2 else nn.Sigmoid())


def fitted(kind: str) -> tuple[object, np.ndarray]:
    """A model of scikit-learn fitted to data that it ships, and the rows it was fitted to, scaled."""
    from sklearn import datasets, linear_model, neural_network, preprocessing

    loaders = {"MLPRegressor": datasets.load_diabetes, "Ridge": datasets.load_diabetes}
    x, y = loaders.get(kind, datasets.load_wine)(return_X_y=True)
    x = preprocessing.StandardScaler().fit_transform(x)
    models = {
        "MLPClassifier": neural_network.MLPClassifier((20, 10), max_iter=30, random_state=0),
        "MLPRegressor": neural_network.MLPRegressor(
            hidden_layer_sizes=(16,), activation="tanh", max_iter=30, random_state=0
        ),
        "LogisticRegression": linear_model.LogisticRegression(),
        "Ridge": linear_model.Ridge(),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not yet converged: any weights will do
        return models[kind].fit(x, y), x


# ---- all of them -----------------------------------------------------------------------------------------------------


def _case(name: str, module: Callable[[], nn.Module], *examples: Callable[[torch.Generator], torch.Tensor]) -> Case:
    def make(generator: torch.Generator) -> tuple[nn.Module, Example]:
        return seeded(module(), generator), tuple(example(generator) for example in examples)

    return Case(name, make)


def _sklearn_case(kind: str) -> Case:
    def make(_: torch.Generator) -> tuple[nn.Module, Example]:
        model, x = fitted(kind)
        return from_sklearn(model), torch.from_numpy(x[:8].astype(np.float32))

    return Case(f"sklearn_{kind}", make)


def seeded(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """The module with weights of this generator; its norms as after some training."""
    with torch.no_grad():
        for parameter in module.parameters():
            scale = 1.0 / max(1.0, parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                norm.running_mean.copy_(torch.randn(norm.num_features, generator=generator) * 0.3)
                norm.running_var.copy_(torch.rand(norm.num_features, generator=generator) + 0.5)
    return module.eval()


def _floats(*shape: int) -> Callable[[torch.Generator], torch.Tensor]:
    return lambda generator: torch.randn(4, *shape, generator=generator)


def _tokens(places: int) -> Callable[[torch.Generator], torch.Tensor]:
    return lambda generator: torch.randint(0, 30, (4, places), generator=generator)


CASES = (
    _case("mlp", mlp, _floats(4)),
    _case("deep_mlp", DeepMlp, _floats(12)),
    _case("vgg", vgg, _floats(1, 8, 8)),
    _case("residual", Residual, _floats(3, 8, 8)),
    _case("signal", signal, _floats(2, 32)),
    _case("gru_tagger", GruTagger, _tokens(7)),
    _case("gru_classifier", GruClassifier, _floats(6, 3)),
    _case("encoder", Encoder, _tokens(9)),
    _case("causal_decoder", CausalDecoder, _tokens(9)),
    _case("two_in_two_out", TwoInTwoOut, _floats(5), _floats(2, 10)),
    _case("siamese", Siamese, _floats(6), _floats(6)),
    _case("auto_encoder", AutoEncoder, _floats(1, 8, 8)),
    *(_sklearn_case(kind) for kind in ("MLPClassifier", "MLPRegressor", "LogisticRegression", "Ridge")),
)
