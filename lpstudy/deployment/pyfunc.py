"""The loader of a deployed folder for MLflow's `python_function` models; it does not import MLflow."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lpstudy.deployment.classifier import Classifier, load

if TYPE_CHECKING:
    import pandas as pd


class ServedClassifier:
    """A classifier as MLflow calls it.

    Args:
        classifier: The deployed network.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def predict(self, images: Any, params: dict[str, Any] | None = None) -> "pd.DataFrame":
        """A row with label and probability for each image.

        Args:
            images: In 0..1, shape (m, channels, height, width).
            params: None are known.

        Raises:
            ValueError: The images have another shape, or values outside 0..1.
        """
        import pandas as pd

        del params
        predictions = self._classifier.predict(torch.from_numpy(np.asarray(images, np.float32)))
        return pd.DataFrame(
            [{"label": one.label, "probability": one.probability} for one in predictions],
            columns=["label", "probability"],
        )


def _load_pyfunc(path: str) -> ServedClassifier:
    """The model at a path, by the name that MLflow calls."""
    return ServedClassifier(load(path))
