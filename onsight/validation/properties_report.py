"""Deepchecks' train-test validation over a table of image properties: an HTML report, and its failed conditions.

The table holds each image's properties, the leading principal components of its 16 x 16 thumbnail, and its label, so
that no PyTorch is needed.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onsight.validation.checks import Problem
from onsight.validation.facts import PROPERTIES, DatasetFacts

if TYPE_CHECKING:
    from deepchecks.core import SuiteResult

__all__ = ["principal_components", "property_table", "run_tabular_suite", "suite_problems"]

_COMPONENTS = 5
_MOST_LABELS = 50


def run_tabular_suite(facts: DatasetFacts, classes: Sequence[str], report: Path) -> list[Problem]:
    """Compare the training split with the test split.

    Args:
        facts: Of the readable images.
        classes: In the order of the label columns.
        report: The HTML file to write; an old one is replaced.

    Returns:
        A problem for each condition that failed.
    """
    table = property_table(facts, classes)
    train, test = table[facts.splits == "train"], table[facts.splits == "test"]
    if train.empty or test.empty:
        return [Problem("the training or the test split has no readable image to compare")]
    os.environ["DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY"] = "True"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old idioms in deepchecks and what it imports
        import deepchecks
        import joblib  # type: ignore[import-untyped]
        from deepchecks.tabular import Dataset
        from deepchecks.tabular.suites import train_test_validation

        deepchecks.set_verbosity(40)
        with joblib.parallel_config(backend="sequential"):  # starting worker processes takes longer than the work
            result = train_test_validation().run(
                Dataset(train, label="label", cat_features=[], label_type="multiclass"),
                Dataset(test, label="label", cat_features=[], label_type="multiclass"),
            )
        report.unlink(missing_ok=True)  # deepchecks would write "name (1).html" beside it
        result.save_as_html(str(report), as_widget=False)
    return suite_problems(result)


def property_table(facts: DatasetFacts, classes: Sequence[str]) -> pd.DataFrame:
    """One row per image: properties, principal components of the thumbnail (fitted on train), label as text."""
    table = pd.DataFrame(facts.properties, columns=list(PROPERTIES))
    components = principal_components(facts.embeddings, facts.splits == "train", _COMPONENTS)
    for index in range(components.shape[1]):
        table[f"component_{index + 1}"] = components[:, index]
    labels = [
        " + ".join(name for name, own in zip(classes, row, strict=True) if own) or "(none)" for row in facts.labels
    ]
    common = {label for label, _ in Counter(labels).most_common(_MOST_LABELS)}
    table["label"] = [label if label in common else "(other)" for label in labels]
    return table


def principal_components(rows: NDArray[np.uint8], fitted_on: NDArray[np.bool_], count: int) -> NDArray[np.float64]:
    """Project rows on the leading principal components of some of them.

    Args:
        rows: uint8 [N, D].
        fitted_on: bool [N]; the rows that the components come from.
        count: Components wanted; fewer come back where there are fewer rows.

    Returns:
        float64 [N, at most count]; the sign of each column is such that its largest loading is positive.
    """
    values = rows.astype(np.float64) / 255
    centre = values[fitted_on].mean(axis=0)
    _, _, directions = np.linalg.svd(values[fitted_on] - centre, full_matrices=False)
    directions = directions[:count]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    projected: NDArray[np.float64] = (values - centre) @ (directions * np.sign(largest)).T
    return projected


def suite_problems(result: SuiteResult) -> list[Problem]:
    """The failed conditions of a suite; checks that do not apply to the data are passed over."""
    from deepchecks.core import CheckFailure, errors

    irrelevant = (errors.DeepchecksNotSupportedError, errors.DatasetValidationError, errors.NotEnoughSamplesError)
    problems = []
    for check in result.results:
        name = type(check.check).__name__
        if isinstance(check, CheckFailure):
            if not isinstance(check.exception, irrelevant):
                problems.append(Problem(f"{name} could not run: {check.exception}"))
            continue
        problems += [
            Problem(f"{name}: expected: {condition.name}; {condition.details}")
            for condition in check.conditions_results
            if not condition.is_pass()
        ]
    return problems
