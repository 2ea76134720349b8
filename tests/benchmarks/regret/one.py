"""Some repetitions of one method, in the environment that it needs; prints them as JSON.

python -m tests.benchmarks.regret.one MODULE METHOD BUDGET FIRST LAST
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import importlib
import json
import sys

from tests.benchmarks.regret.trainings import World, repeated


def main() -> None:
    """Run them."""
    module, method, budget, first, last = sys.argv[1:]
    methods = importlib.import_module(f"tests.benchmarks.regret.{module}").METHODS
    repetitions = range(int(first), int(last))
    answers = repeated(methods[method], World.read(), int(budget), repetitions)
    print(json.dumps([[answer.regret, answer.spent] for answer in answers]))


if __name__ == "__main__":
    main()
