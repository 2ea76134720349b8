"""PyTorch with Optuna, one network at a time: two processes of one thread share a study.

The images are normalised once and forked, so both processes read one copy. The eight lambdas are
enqueued and the processes take trials from the study (in a journal) as they become free. Tuning (PyTorch
2.13, one thread, milliseconds an update): fused SGD 1.28, foreach 1.32, a loop 1.32; plain
tensors with autograd 1.4 to 1.55.
"""

import tempfile
from collections.abc import Callable

import optuna
import task
import torch
import torch.nn.functional as F  # noqa: N812  # everybody calls it so
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from torch import Tensor, nn

Part = tuple[Tensor, Tensor]


def network(generator: torch.Generator) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(task.D, task.M), nn.ReLU(), nn.Linear(task.M, task.K))
    for layer in (model[0], model[2]):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
        nn.init.zeros_(layer.bias)
    return model


def optimizer(model: nn.Module, lambda_: float) -> torch.optim.SGD:
    """Return SGD whose weight decay is the gradient of lambda times the squared weights."""
    weights = [p for p in model.parameters() if p.ndim == 2]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": 2 * lambda_}, {"params": biases}]
    return torch.optim.SGD(groups, lr=task.ETA_MIN, fused=True)


@torch.no_grad()
def evaluate(model: nn.Module, part: Part, lambda_: float) -> tuple[float, float, float]:
    """Return cost, loss and accuracy."""
    scores = model(part[0])
    loss = F.cross_entropy(scores, part[1]).item()
    penalty = lambda_ * sum(p.square().sum().item() for p in model.parameters() if p.ndim == 2)
    return loss + penalty, loss, (scores.argmax(1) == part[1]).float().mean().item()


def train(
    training: Part, validation: Part, lambda_: float, log_points: int, full: bool
) -> list[tuple[float, float, float]]:
    """Return the validation curve."""
    generator = torch.Generator().manual_seed(0)
    model = network(generator)
    sgd = optimizer(model, lambda_)
    images, labels = training
    per_epoch = len(labels) // task.BATCH
    curve = []
    for update in range(log_points * task.PERIOD):
        if update % per_epoch == 0:
            batches = torch.randperm(len(labels), generator=generator).view(per_epoch, task.BATCH)
        chosen = batches[update % per_epoch]
        for group in sgd.param_groups:
            group["lr"] = task.rate(update)
        sgd.zero_grad()
        scores = model(images.index_select(0, chosen))
        F.cross_entropy(scores, labels.index_select(0, chosen)).backward()
        sgd.step()
        if (update + 1) % task.PERIOD == 0:
            if full:
                evaluate(model, training, lambda_)
            curve.append(evaluate(model, validation, lambda_))
    return curve


def objective(
    training: Part, validation: Part, log_points: int, full: bool
) -> Callable[[optuna.Trial], float]:
    def train_trial(trial: optuna.Trial) -> float:
        lambda_ = trial.suggest_float("lambda", 1e-6, 1.0, log=True)
        curve = train(training, validation, lambda_, log_points, full)
        trial.set_user_attr("curve", curve)  # one write, not one a log point
        return curve[-1][2]

    return train_trial


def main() -> None:
    options = task.arguments(__doc__, processes=2)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pixels, numbers = task.images(options.data)
    images, labels = torch.from_numpy(task.normalised(pixels, "float32")), torch.from_numpy(numbers)
    n = task.N_VALIDATION
    goal = objective(
        (images[n:], labels[n:]),
        (images[:n], labels[:n]),
        options.log_points,
        options.train_metrics == "full",
    )
    with tempfile.TemporaryDirectory() as folder:
        # On SQLite, plain Optuna sometimes gives one waiting trial to both processes.
        path = f"{folder}/study.log"
        storage = JournalStorage(JournalFileBackend(path))
        study = optuna.create_study(study_name="coarse", storage=storage, direction="maximize")
        for lambda_ in options.lambdas:
            study.enqueue_trial({"lambda": lambda_})

        def work(place: int) -> None:
            own = JournalStorage(JournalFileBackend(path))
            shared = optuna.load_study(study_name="coarse", storage=own)
            shared.optimize(goal, n_trials=len(options.lambdas[place :: options.processes]))

        task.in_processes(work, options.processes)
        accuracies = [trial.value or 0.0 for trial in study.trials]
    versions = {"torch": torch.__version__, "optuna": optuna.__version__}
    task.tell(options, accuracies, versions)


if __name__ == "__main__":
    main()
