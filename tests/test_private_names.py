"""The private names of other packages that lpstudy uses: each exists and is in this list.

An update that removes one fails here by its name. `pyproject.toml` bounds the versions from above.
"""

import ast
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import lpstudy

PACKAGE = Path(lpstudy.__file__).parent
NAMES = {
    "optuna.storages._rdb.models": ("StudyModel", "StudyUserAttributeModel", "TrialIntermediateValueModel",
                                    "TrialModel", "TrialUserAttributeModel"),
    "optuna.storages._rdb.storage": ("_create_scoped_session", "RDBStorage._get_prepared_new_trial",
                                     "RDBStorage._set_trial_attr_without_commit"),
    "optuna.study._constrained_optimization": ("_CONSTRAINTS_KEY",),
    "ray._common.utils": ("get_default_ray_temp_dir",),
    "ray._private.gcs_utils": ("create_gcs_channel",),
    "ray.core.generated.gcs_service_pb2": ("CheckAliveRequest",),
    "ray.core.generated.gcs_service_pb2_grpc": ("NodeInfoGcsServiceStub",),
    "ray.tune.execution.class_cache": ("ENV_VARS_TO_PROPAGATE",),
    "ray._private.ray_constants": ("ENABLE_RAY_CLUSTER", "RAY_DISABLE_FAILURE_SIGNAL_HANDLER"),
    "ray._private.services": ("ConsolePopen", "start_ray_process"),
    "ray._private.utils": ("read_ray_address", "set_sigterm_handler"),
    "ray._private.worker": ("_global_node", "print_to_stdstream"),
    "torch.cpu": ("_is_avx512_bf16_supported", "_is_amx_tile_supported"),
    "torch._subclasses.fake_tensor": ("FakeTensor", "FakeTensorMode"),
    "torch.utils._python_dispatch": ("TorchDispatchMode",),
    "torch.utils._pytree": ("tree_leaves",),
}  # fmt: skip
BOUNDED = ("optuna", "ray", "torch")


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in NAMES.items() for n in names])
def test_a_private_name_is_there(module: str, name: str) -> None:
    value = import_module(module)
    for part in name.split("."):
        assert hasattr(value, part), f"{module}.{name} is gone: mend what uses it in lpstudy"
        value = getattr(value, part)


def test_the_list_has_the_private_modules_that_are_imported_and_no_others() -> None:
    imported = {module for module, _ in private_imports()}
    assert imported == {module for module in NAMES if "._" in module}


def test_every_name_that_is_imported_from_a_private_module_is_listed() -> None:
    for module, name in private_imports():
        listed = name in NAMES[module] or f"{module}.{name}" in NAMES
        assert listed, f"{module}.{name}"


@pytest.mark.parametrize("package", BOUNDED)
def test_its_package_is_bounded_from_above(package: str) -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    (line,) = [one for one in project["dependencies"] if one.partition("[")[0].partition(">")[0] == package]
    assert ",<" in line


def private_imports() -> Iterator[tuple[str, str]]:
    """Module and name of each import from another package in which one of the two is private."""
    for path in PACKAGE.rglob("*.py"):
        imports = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom))
        for node in imports:
            module = node.module or ""
            if module.startswith("lpstudy"):
                continue
            for alias in node.names:
                if module.endswith("._private"):  # a module is what is imported
                    submodule = f"{module}.{alias.name}"
                    yield submodule, NAMES.get(submodule, ("",))[0]
                elif "._" in module or (alias.name.startswith("_") and not alias.name.startswith("__")):
                    yield module, alias.name
