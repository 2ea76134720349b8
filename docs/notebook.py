# %% [markdown]
# # From coarse to final, on the digits
#
# Eight orders of magnitude of lambda, ten values between the neighbours of the best, and one look at
# the test images. On the digits it takes seconds; `data="cifar10"` (or the folder where the batches
# are) does the same on CIFAR-10 in some minutes.

# %%
import tempfile
from pathlib import Path

import hpo

folder = Path(tempfile.mkdtemp())
storage = f"sqlite:///{folder / 'hpo.db'}"

# %% [markdown]
# ## Coarse
# What is interrupted goes on when the cell is run again; what is done is not trained twice.

# %%
coarse = hpo.run("coarse", data="digits", storage=storage)
for result in coarse.results:
    print(coarse.experiment.cells[result.slot.cell]["lambda"], result.outcome, result.value)
print("best:", coarse.best)

# %% [markdown]
# How sure is that? The judgement compares the networks image by image.

# %%
judgement = coarse.judgement()
if judgement is not None:
    print(f"{judgement.accuracy.low:.4f} to {judgement.accuracy.high:.4f}")
    print("may be the best:", sorted(judgement.contenders))

# %% [markdown]
# ## Fine, and the winner
# `fine` finds its parent in the same storage, and `final` its.

# %%
fine = hpo.run("fine", data="digits", storage=storage)
print("best:", fine.best)
final = hpo.run("final", data="digits", storage=storage)
verdict = final.verdict()
if verdict is not None:
    print(f"test accuracy: {verdict.accuracy:.4f}, looks at the test images: {verdict.looks()}")
    print(verdict.spread())

# %% [markdown]
# ## Pictures, and a grid of one's own

# %%
for path in coarse.plot(folder / "pictures"):
    print(path.name)

# %%
mine = hpo.StudyDefinition(name="mine", grid=hpo.Logarithmic(-5, -1, 5), n_s=20, n_cycles=2)
study = hpo.run(mine, data="digits", storage=storage)
for each in hpo.studies(storage=storage, notify=print):
    print(each.name, each.status())
