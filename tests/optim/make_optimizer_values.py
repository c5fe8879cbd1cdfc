#!/usr/bin/env python3
"""Writes optimizer_values.hpp: where PyTorch's optimizers, in f64, take the parameters of noisy_problem.hpp.

    python make_optimizer_values.py > optimizer_values.hpp      (torch 2.9 or later, transformers)

Lion is computed by its formula. PyTorch's Muon multiplies in bf16: its iteration is replaced by the same one in
the type of its argument.
"""
import math

import torch
from transformers.optimization import Adafactor as HuggingFaceAdafactor

SHAPES = {"wide": (3, 5), "tall": (7, 3), "stack": (2, 3, 4), "gain": (5,)}
STEPS = 30


def numbers(seed, shape):
    """The numbers of tests/support.hpp."""
    state = (seed * 2654435761 + 12345) % 2**32
    result = []
    for _ in range(math.prod(shape)):
        state = (state * 1664525 + 1013904223) % 2**32
        result.append((state >> 8) / 2**23 - 1)
    return torch.tensor(result, dtype=torch.float64).reshape(shape)


def rate_at(step, rate):
    return rate / (1 + 0.1 * step)


def newton_schulz(gradient, coefficients, steps, eps):
    a, b, c = coefficients
    x = gradient.T if gradient.size(0) > gradient.size(1) else gradient
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if gradient.size(0) > gradient.size(1) else x


torch.optim._muon._zeropower_via_newtonschulz = newton_schulz


class Lion(torch.optim.Optimizer):
    def __init__(self, parameters, lr, beta1, beta2, decay):
        super().__init__(parameters, {"lr": lr, "beta1": beta1, "beta2": beta2, "decay": decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                u = group["beta1"] * m + (1 - group["beta1"]) * p.grad
                p.mul_(1 - group["lr"] * group["decay"]).sub_(group["lr"] * u.sign())
                m.mul_(group["beta2"]).add_((1 - group["beta2"]) * p.grad)


class DecoupledSGD(torch.optim.SGD):
    """PyTorch's SGD; its own weight decay would go through the momentum."""

    def __init__(self, parameters, decay, **options):
        super().__init__(parameters, **options)
        self.decay = decay

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * self.decay)
        super().step()


def print_values(name, make, rate, steps=STEPS):
    """`make` takes the leaves by name, those of `stack` as a list of matrices too, and returns optimizers."""
    leaves = {key: numbers(k, shape).requires_grad_() for k, (key, shape) in enumerate(SHAPES.items(), 1)}
    matrices = [leaves["stack"].detach()[i].clone().requires_grad_() for i in range(2)]
    optimizers = make(leaves, matrices)
    is_split = any(p is matrices[0] for o in optimizers for g in o.param_groups for p in g["params"])
    ratios = [[group["lr"] / rate for group in optimizer.param_groups] for optimizer in optimizers]
    for step in range(1, steps + 1):
        if is_split:
            leaves["stack"] = torch.stack(matrices)
        loss = 0
        for k, (key, shape) in enumerate(SHAPES.items(), 1):
            loss = loss + (leaves[key] ** 2).sum() / 2 + (numbers(100 * step + k, shape) * leaves[key]).sum()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer, group_ratios in zip(optimizers, ratios):
            for group, ratio in zip(optimizer.param_groups, group_ratios):
                group["lr"] = ratio * rate_at(step, rate)
            optimizer.step()
    if is_split:
        leaves["stack"] = torch.stack(matrices)
    values = [x.item() for leaf in leaves.values() for x in leaf.flatten()]
    print(f"inline constexpr double {name}[] = {{")
    for i in range(0, len(values), 4):
        print("    " + " ".join(f"{x!r}," for x in values[i : i + 4]))
    print("};\n")


def everything(leaves, matrices):
    return list(leaves.values())


def two_groups(leaves, decay, **others):
    """Decay of all that has two axes; the gain has twice the rate."""
    matrices = [leaf for leaf in leaves.values() if leaf.dim() > 1]
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": [leaves["gain"]], "weight_decay": 0.0, "lr": 0.02},
    ]


def muon(adjust):
    def make(leaves, matrices):
        hidden = [leaves["wide"], leaves["tall"], *matrices]
        return [
            torch.optim.Muon(hidden, lr=0.05, weight_decay=0.1, momentum=0.9, adjust_lr_fn=adjust),
            torch.optim.AdamW([leaves["gain"]], lr=0.05, betas=(0.9, 0.95), weight_decay=0.1),
        ]

    return make


print("#pragma once\n")
print("// Written by make_optimizer_values.py; clang-format leaves it alone.")
print("// clang-format off\n")
print("namespace tenon::support::expected {\n")
print_values("sgd", lambda l, m: [DecoupledSGD(everything(l, m), 0.1, lr=0.05)], 0.05)
print_values("sgd_momentum", lambda l, m: [DecoupledSGD(everything(l, m), 0.1, lr=0.05, momentum=0.8)], 0.05)
print_values(
    "sgd_nesterov", lambda l, m: [DecoupledSGD(everything(l, m), 0.1, lr=0.05, momentum=0.8, nesterov=True)], 0.05
)
print_values("lion", lambda l, m: [Lion(everything(l, m), 0.02, 0.9, 0.95, 0.3)], 0.02)
print_values(
    "adamw_groups", lambda l, m: [torch.optim.AdamW(two_groups(l, 0.2), lr=0.01, betas=(0.8, 0.95), eps=1e-6)], 0.01
)
print_values(
    "adamw_1000", lambda l, m: [torch.optim.AdamW(everything(l, m), lr=0.1, weight_decay=0.01)], 0.1, steps=1000
)
print_values(
    "adafactor_torch",
    lambda l, m: [torch.optim.Adafactor(everything(l, m), lr=0.8, eps=(1e-15, 1e-3), weight_decay=0.1)],
    0.8,
)
print_values(
    "adafactor_hugging_face",
    lambda l, m: [
        HuggingFaceAdafactor(
            everything(l, m), lr=0.05, scale_parameter=False, relative_step=False, warmup_init=False, weight_decay=0.1
        )
    ],
    0.05,
)
print_values("muon_like_adamw", muon("match_rms_adamw"), 0.05)
print_values("muon_spectral", muon("original"), 0.05)
print("}  // namespace tenon::support::expected")
