"""PyTorch with all networks in one module: one wide first layer, a batched second.

The first layers stand side by side in one weight matrix (T M, D), so that they are one product;
the second ones are a batched product. The costs of the networks are summed, as their gradients
do not mix. The images are normalised once; with two processes each trains half of the networks
with one thread. Tuning (PyTorch 2.13, one thread, four networks, milliseconds an update): 3.4 to
3.5 so, 3.6 with the first layer (D, T M). ``--bfloat16`` lets autocast choose what is made in it, as
its users write it; ``--compile`` compiles the scores.
"""

import argparse
from contextlib import nullcontext

import task
import torch
import torch.nn.functional as F  # noqa: N812  # everybody calls it so
from torch import Tensor, nn

Part = tuple[Tensor, Tensor]


class Networks(nn.Module):
    """T networks that see the same images."""

    def __init__(self, lambdas: list[float], options: argparse.Namespace) -> None:
        super().__init__()
        self.autocast = options.bfloat16
        generator = torch.Generator().manual_seed(0)
        t, d, m, k = len(lambdas), task.D, task.M, task.K
        w1 = torch.randn(m, d, generator=generator) * d**-0.5
        w2 = torch.randn(m, k, generator=generator) * m**-0.5
        self.w1 = nn.Parameter(w1.repeat(t, 1))  # (T M, D)
        self.b1 = nn.Parameter(torch.zeros(t * m))
        self.w2 = nn.Parameter(w2.repeat(t, 1, 1))  # (T, M, K)
        self.b2 = nn.Parameter(torch.zeros(t, 1, k))
        self.lambdas = torch.tensor(lambdas)
        if options.compile:
            self.compile()

    def scores(self, images: Tensor) -> Tensor:
        """Return scores (T, n, K) in float32, made as the options say."""
        cast = torch.autocast("cpu", torch.bfloat16) if self.autocast else nullcontext()
        with cast:
            return self(images).float()

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (T, n, K)."""
        h = F.relu(F.linear(images, self.w1, self.b1))
        h = h.view(len(images), len(self.lambdas), task.M).transpose(0, 1)
        return torch.baddbmm(self.b2, h, self.w2)

    def step(self, images: Tensor, labels: Tensor, eta: float) -> None:
        """Make one update of plain SGD; lambda shrinks the weights of its network."""
        scores = self.scores(images).transpose(1, 2)
        losses = F.cross_entropy(scores, self._each(labels), reduction="sum")
        parameters = (self.w1, self.b1, self.w2, self.b2)
        gradients = torch.autograd.grad(losses / len(images), parameters)
        shrink = 1 - 2 * eta * self.lambdas
        with torch.no_grad():
            self.w1.mul_(shrink.repeat_interleave(task.M)[:, None])
            self.w2.mul_(shrink[:, None, None])
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=eta)

    @torch.no_grad()
    def evaluate(self, part: Part) -> tuple[list[float], list[float], list[float]]:
        """Return costs, losses and accuracies."""
        labels = self._each(part[1])
        scores = self.scores(part[0])
        losses = F.cross_entropy(scores.transpose(1, 2), labels, reduction="none").mean(dim=1)
        squares = self.w1.square().view(len(losses), -1).sum(1) + self.w2.square().sum((1, 2))
        accuracies = (scores.argmax(2) == labels).float().mean(dim=1)
        return (losses + self.lambdas * squares).tolist(), losses.tolist(), accuracies.tolist()

    def _each(self, labels: Tensor) -> Tensor:
        return labels.expand(len(self.lambdas), -1)


def train(
    training: Part, validation: Part, lambdas: list[float], options: argparse.Namespace
) -> list[float]:
    """Return the last validation accuracies."""
    networks = Networks(lambdas, options)
    generator = torch.Generator().manual_seed(1)
    images, labels = training
    per_epoch = len(labels) // task.BATCH
    curve = []
    for update in range(options.log_points * task.PERIOD):
        if update % per_epoch == 0:
            batches = torch.randperm(len(labels), generator=generator).view(per_epoch, task.BATCH)
        chosen = batches[update % per_epoch]
        networks.step(
            images.index_select(0, chosen), labels.index_select(0, chosen), task.rate(update)
        )
        if (update + 1) % task.PERIOD == 0:
            if options.train_metrics == "full":
                networks.evaluate(training)
            curve.append(networks.evaluate(validation))
    return curve[-1][2]


def main() -> None:
    options = task.arguments(__doc__, processes=2, flags=("bfloat16", "compile"))
    pixels, numbers = task.images(options.data)
    images, labels = torch.from_numpy(task.normalised(pixels, "float32")), torch.from_numpy(numbers)
    n = task.N_VALIDATION
    n_processes = min(options.processes, len(options.lambdas))
    torch.set_num_threads(2 // n_processes)

    def work(place: int) -> list[float]:
        return train(
            (images[n:], labels[n:]),
            (images[:n], labels[:n]),
            options.lambdas[place::n_processes],
            options,
        )

    accuracies = [0.0] * len(options.lambdas)
    for place, share in enumerate(task.in_processes(work, n_processes)):
        accuracies[place::n_processes] = share
    task.tell(options, accuracies, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
