"""A small teacher of digits with 18 views, and its banks; nothing is trained."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_banks import SmallBank, weights

from lpstudy.data import Data, load
from lpstudy.space import StudySpec
from lpstudy.teacher import Store, TrainedTeacher, load_or_train, open_teacher, plan_bank, store

MakeStudy = Callable[..., StudySpec]
CPU = torch.device("cpu")
Methods = dict[str, dict[str, object]]
METHODS: Methods = {"kd": {}, "lp": {"n_neighbors": 3}}
"""They read logits and embedding."""


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_study() -> MakeStudy:
    def make(methods: Methods = METHODS, *, epochs: int = 3, **teacher: object) -> StudySpec:
        """100 digits in 18 views. The teacher gives, for one of them, 10 logits, an embedding of 8, a map
        conv1 of 4 x 8 x 8 and a map conv2 of 8 x 4 x 4."""
        network = {"family": "convnet", "depth": 2, "width": 4, "precision": "fp32"}
        return StudySpec.model_validate(
            {
                "name": "banked",
                "data": {"kind": "digits", "labels_per_class": 10, "pad": 1, "flip": True},
                "teacher": network | teacher,
                "students": [{"family": "convnet", "depth": 2, "width": 2}],
                "methods": methods,
                "training": {"batch_size": 50},
                "budget": {"epochs": epochs},
            }
        )

    return make


@pytest.fixture
def data(make_study: MakeStudy) -> Data:
    return load(make_study().data)


MakeBank = Callable[..., SmallBank]


@pytest.fixture
def make_bank(make_study: MakeStudy, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeBank:
    """Banks in a cache of their own, in blocks of 40 samples: three for each view."""
    monkeypatch.setattr(store, "BLOCK", 40)
    images = data  # decoded before the cache is another one
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))

    def make(
        methods: Methods = METHODS,
        *,
        seed: int = 9,
        logits: float = 1.0,
        data: Data = images,
        **values: object,
    ) -> SmallBank:
        path = tmp_path / f"teacher-{seed}-{logits}.safetensors"
        spec = make_study(methods, weights=str(path), **values)
        weights(spec, data, path, seed=seed, logits=logits)
        (file,) = load_or_train(spec.teacher, data, device=CPU)
        assert isinstance(file, TrainedTeacher)
        plan = plan_bank(spec, data)
        teacher = open_teacher(file, spec.teacher, data, device=CPU)
        bf16 = spec.teacher.precision == "bf16"
        return SmallBank(spec, data, file, plan, Store(plan, file, data, bf16=bf16), teacher)

    return make
