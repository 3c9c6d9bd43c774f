"""Members of an ensemble that are made by hand."""

import numpy as np
import pytest

from evqa.ensembling import Members


@pytest.fixture
def members():
    """Two members of three items; keyword arguments replace any field."""

    def of(**more):
        fields = {"names": ("a", "b"), "label": "ECR", "ids": ("x", "y", "z"), "scores_NM": np.eye(3)[:, :2]}
        return Members(**{**fields, **more})

    return of
