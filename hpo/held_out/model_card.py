"""The model card: what a trained network is, how good it is, and how to use it, in Markdown."""

import hashlib
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from hpo.experiment.records import Result, StoredStudy
from hpo.held_out.verdict import Verdict
from hpo.weights.file import NPZ, Weights, digest
from model.losses import Loss
from model.normalisation import Normalisation

NAME = "model-card.md"


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """The network that a card is about."""

    study: StoredStudy
    best: Result  #: whose network it is
    values: Mapping[int, float]  #: validation accuracy of every replicate of its cell
    verdict: Verdict
    weights: Weights
    environment: Mapping[str, str]  #: that it was trained in


def text(subject: Subject, files: Mapping[str, bytes]) -> str:
    """Return the card.

    Args:
        files: The weights as they are written, by name.
    """
    parts = [
        _what(subject),
        _results(subject),
        _data(subject),
        _recipe(subject),
        _limits(subject),
        _use(subject),
        _files(subject, files),
    ]
    return "\n\n".join(parts) + "\n"


def _what(subject: Subject) -> str:
    weights, experiment = subject.weights, subject.study.experiment
    d, m, k = weights.d, weights.network.w1.shape[-1], weights.n_classes
    outputs = "softmax" if weights.loss is Loss.CROSS_ENTROPY else "a sigmoid each"
    told = f"""
        It takes {_images(weights)} and returns the probability of each of {k} classes:
        {_classes(weights)}. The network is fully connected: {d} inputs, {m} hidden units (ReLU),
        {k} outputs ({outputs}), {(d + 1) * m + (m + 1) * k:,} parameters in
        {weights.network.w1.dtype}. hpo {weights.about["hpo_version"]} wrote it."""
    title = f"# {subject.study.name}: a two-layer classifier of {experiment.data.name}"
    return f"{title}\n\n{_paragraph(told)}"


def _results(subject: Subject) -> str:
    verdict, best = subject.verdict, subject.best
    data, n = subject.study.experiment.data, len(subject.values)
    own = verdict.by_replicate.get(best.slot.replicate)
    chosen = (
        f"the best of {n} replicates on these images, so it is a little too high"
        if n > 1
        else "the only replicate"
    )
    mean = sum(subject.values.values()) / n
    n_tested = _plural(len(verdict.by_replicate), "replicate")
    rows = [
        (
            "validation, this network",
            f"{best.value:.4f}",
            f"{data.n_validation:,} images; {chosen}",
        ),
        ("validation, mean", f"{mean:.4f}", _plural(n, "replicate")),
        (
            "test, this network",
            "-" if own is None else f"{own:.4f}",
            f"{verdict.n_images:,} images",
        ),
        ("**test, mean**", f"**{verdict.accuracy:.4f}**", f"{n_tested}; {verdict.spread()}"),
    ]
    table = ["| measured | accuracy | of what |", "|---|---|---|"]
    table += [f"| {' | '.join(row)} |" for row in rows]
    told = f"""
        Looks at the test images: {verdict.looks()}. hpo made every choice on validation images.
        The mean over the replicates is the honest estimate of what this recipe gives."""
    return "\n".join(["## Results", "", *table, "", _paragraph(told)])


def _data(subject: Subject) -> str:
    data, weights = subject.study.experiment.data, subject.weights
    told = f"""
        {data.name}: {data.n_training:,} training images; the {data.n_validation:,} images before them
        validate. The {subject.verdict.n_images:,} test images are others. Normalisation
        `{weights.normalisation}`; its statistics: {weights.about["normalisation_statistics"]}.
        Values: {weights.about["dataset_values"]}; {_scale(weights)}.
        SHA-256 of the training and validation images:"""
    return f"## Data\n\n{_paragraph(told)}\n`{data.fingerprint}`"


def _recipe(subject: Subject) -> str:
    experiment, best = subject.study.experiment, subject.best
    definition, parent = experiment.definition, experiment.parent
    recipe = experiment.recipe(best.slot.cell)
    derived = f"cell {parent.cell} of the study {parent.study}" if parent else "given by hand"
    rows = {
        "lambda (L2 penalty)": f"{experiment.lambdas[best.slot.cell]!r}, {derived}",
        "loss": definition.loss,
        "learning rate": f"{recipe.eta_min:g} to {recipe.eta_max:g} and back, triangular cycles",
        "half a cycle (n_s)": f"{recipe.n_s:,} updates",
        "length": f"{best.n_updates:,} updates, {_plural(best.cycles, 'whole cycle')}",
        "mini-batch": f"{recipe.batch_size} images",
        "mirrored images": f"with probability {recipe.flip_probability:g}",
        "protocol, seed, replicate": f"{definition.protocol}, {definition.seed}, {best.slot.replicate}",
    }
    lines = ["## Recipe", "", "| setting | value |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows.items()])


def _limits(subject: Subject) -> str:
    name, wrong = subject.study.experiment.data.name, 1 - subject.verdict.accuracy
    told = f"""
        For teaching, and for comparing ways to search hyperparameters. It is a small network without
        convolutions: about {wrong:.0%} of images like those of {name} are classified wrongly. Of other
        images it says something too, with no sign that it does not know them: it expects the size,
        framing and polarity of its training images. Its probabilities were not calibrated. Do not let
        it decide anything about people."""
    return f"## Intended use and limits\n\n{_paragraph(told)}"


def _use(subject: Subject) -> str:
    weights = subject.weights
    names = ", ".join(f'"{name}"' for name in ("w1", "b1", "w2", "b2"))
    normalised = {
        Normalisation.IMAGE: "(images - images.mean(1, keepdims=True)) / images.std(1, keepdims=True)",
        Normalisation.FEATURE: '(images - stored["feature_mean"]) / stored["feature_deviation"]',
        Normalisation.NONE: "images",
    }[weights.normalisation]
    return f"""## How to use it

```
hpo predict {NPZ} picture.png --top 3
```

Or with NumPy alone, for `images` of shape (n, {weights.d}), {_row(weights)}:

```python
import numpy as np

stored = np.load("{NPZ}")
w1, b1, w2, b2 = (stored[name] for name in ({names}))
inputs = {normalised}
scores = np.maximum(inputs @ w1 + b1, 0) @ w2 + b2
classes = scores.argmax(axis=1)
```"""


def _files(subject: Subject, files: Mapping[str, bytes]) -> str:
    made_in = ", ".join(f"{name} {value}" for name, value in sorted(subject.environment.items()))
    lines = ["## Files and versions", "", "| file | SHA-256 |", "|---|---|"]
    lines += [f"| {n} | `{hashlib.sha256(content).hexdigest()}` |" for n, content in files.items()]
    lines += [f"| the arrays in it | `{digest(subject.weights.arrays())}` |", ""]
    lines.append(_paragraph(f"Trained with: {made_in}."))
    return "\n".join(lines)


def _paragraph(told: str) -> str:
    """Return running text in lines of up to 100 letters."""
    words = " ".join(told.split())
    return textwrap.fill(words, 100, break_long_words=False, break_on_hyphens=False)


def _images(weights: Weights) -> str:
    if not weights.image_shape:
        return f"rows of {weights.d} values"
    shape = " x ".join(str(n) for n in weights.image_shape)
    white = "" if weights.white is None else f" with values from 0 to {weights.white:g}"
    return f"images of {shape}{white}"


def _scale(weights: Weights) -> str:
    if weights.white is None:
        return "they are no pixels, so no image file fits"
    return f"white, to which image files are scaled, is taken to be {weights.white:g}"


def _row(weights: Weights) -> str:
    if len(weights.image_shape) < 3:
        return "each image row by row"
    return f"each image of shape {weights.image_shape} flattened"


def _classes(weights: Weights) -> str:
    return ", ".join(weights.class_name(i) for i in range(weights.n_classes))


def _plural(n: int, what: str) -> str:
    return f"one {what}" if n == 1 else f"{n} {what}s"
