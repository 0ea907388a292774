"""Files of a study's runs, and deployed folders as versions of a model in MLflow's registry."""

import logging
import shutil
import uuid
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from requests.exceptions import RequestException

from lpstudy.tracking.artifact_files import check_location, download, upload_file
from lpstudy.tracking.client import TrackedRun, experiment_name, find_runs
from lpstudy.version import __version__

LOADER = "lpstudy.deployment.pyfunc"
"""The module by which MLflow loads a deployed folder."""
ALIAS = "best"
"""The alias of the version that was registered last."""


def download_run(client: MlflowClient, study: str, key: str, names: Iterable[str], folder: Path) -> None:
    """Download files of a run to a folder.

    Raises:
        ValueError: MLflow has no such run.
        MlflowException, RequestException, OSError: It does not answer, or has no such file.
    """
    run = _run(client, study, key)
    for name in names:
        download(client, run.location, name, str(folder))


def registered_name(study: str) -> str:
    """The name of a study's model in the registry."""
    return f"lpstudy.{study}"


def register_folder(
    client: MlflowClient, study: str, key: str, folder: Path, input_shape: tuple[int, int, int]
) -> tuple[str, int]:
    """Log a deployed folder as a model of a run, and register it as the version with the alias `best`.

    Its files are those of the folder and texts of MLflow; none of them is a pickle.

    Args:
        client: A connected client.
        study: The study's name.
        key: The run's key.
        folder: The deployed folder.
        input_shape: (channels, height, width) of an image.

    Returns:
        The model's name and the version.

    Raises:
        ValueError: MLflow has no such run.
        MlflowException, RequestException: MLflow does not accept it.
    """
    run = _run(client, study, key)
    check_location(run.location, client.tracking_uri)
    model = f"model-{uuid.uuid4().hex[:8]}"  # a version's files are never replaced by another's
    with TemporaryDirectory() as place:
        saved = Path(place) / model
        _save(folder, saved, input_shape)
        try:
            for path in sorted(one for one in saved.rglob("*") if one.is_file()):
                upload_file(client, run.location, path, str(Path(model) / path.relative_to(saved).parent))
        except OSError as error:  # from this machine's disk, where MLflow stores files
            if isinstance(error, RequestException):
                raise
            raise MlflowException(f"files of runs: {error}") from error
    name = registered_name(study)
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name, description=f"Students of the study {study}, by lpstudy deploy.")
    version = client.create_model_version(name, f"{run.location}/{model}", run.run_id, tags={"run": key})
    client.set_registered_model_alias(name, ALIAS, version.version)
    return name, int(version.version)


def _save(folder: Path, target: Path, input_shape: tuple[int, int, int]) -> None:
    """Write the folder in MLflow's layout of a pyfunc model, with its signature and an example."""
    import mlflow.pyfunc

    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *input_shape))]),
        outputs=Schema([ColSpec(DataType.string, "label"), ColSpec(DataType.double, "probability")]),
    )
    with TemporaryDirectory() as place, _silent():
        data = Path(place) / "deployed"
        shutil.copytree(folder, data)
        mlflow.pyfunc.save_model(
            str(target),
            loader_module=LOADER,
            data_path=str(data),
            signature=signature,
            input_example=np.full((1, *input_shape), 0.5, np.float32),
            pip_requirements=[f"lpstudy=={__version__}"],
        )


def _run(client: MlflowClient, study: str, key: str) -> TrackedRun:
    experiment = client.get_experiment_by_name(experiment_name(study))
    runs = {} if experiment is None else find_runs(client, experiment)
    if key not in runs:
        raise ValueError(f"MLflow has no run {key} of study {study!r}: lpstudy reconcile {study} writes it")
    return runs[key]


@contextmanager
def _silent() -> Iterator[None]:
    """A context without MLflow's advice in the log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
