"""`mlflow models serve` answers with the labels of the registered student."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import torch
from commands import environment, free_port, stop_group, wait_for
from deployments import Deployed

import lpstudy
from lpstudy.data import DataSpec, load


def test_a_registered_student_is_served_on_loopback(deployed: Deployed, tmp_path: Path) -> None:
    port = free_port()
    words = ["models", "serve", "-m", "models:/lpstudy.smoke@best", "--env-manager", "local"]
    variables = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{deployed.study / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # MLflow starts uvicorn
    }
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words, "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path,
            env=environment(**variables),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for(lambda: server.poll() is not None or _answers(port), seconds=180)
            assert server.poll() is None, (tmp_path / "log").read_text()[-2000:]
            data = load(DataSpec(kind="digits", labels_per_class=10, pad=1))
            (images,) = data.test.pixels.read([torch.arange(40)])
            answer = _post(port, {"inputs": (images.float() / 255).tolist()})
        finally:
            stop_group(server)
    expected = lpstudy.load(deployed.folder).predict(images)
    assert [row["label"] for row in answer["predictions"]] == [one.label for one in expected]
    for row, one in zip(answer["predictions"], expected, strict=True):
        assert row["probability"] == pytest.approx(one.probability, abs=1e-5)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _post(port: int, content: object) -> dict:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(content).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)
