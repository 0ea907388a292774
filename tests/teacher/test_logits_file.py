"""Finals know how close they are to their teacher, whose logits of the test images are stored once."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_banks import SmallBank

from lpstudy.disk import UnreachableError
from lpstudy.methods import Needs
from lpstudy.model_file import load_model
from lpstudy.space import RunSpec
from lpstudy.teacher import TrainedTeacher, load_or_train, open_teacher_outputs
from lpstudy.teacher.logits_file import MAX_BYTES, TEST_LOGITS, predictions_with_logits, write_test_logits
from lpstudy.training import train

MakeBank = Callable[..., SmallBank]
CPU = torch.device("cpu")


def final_of(bank: SmallBank, method: str, folder: Path | None = None) -> dict[str, float]:
    """The metrics of a final's last epoch."""
    run = RunSpec.model_validate(
        {
            "student": {"family": "convnet", "depth": 2, "width": 4},
            "method": {"method": method},
            "training": {"batch_size": 50, "precision": "fp32"},
            "epochs": 1,
            "seed": 2,
        }
    )
    if bank.plan.banked_outputs:
        bank.fill()
    teacher = open_teacher_outputs(bank.plan, bank.file, bank.spec.teacher, bank.data, device=CPU)
    data = bank.data.with_views(bank.plan.views)
    (result,) = train(run, data, teacher, device=CPU, read_test=True, folder=folder)
    return dict(result.metrics)


def test_the_file_has_the_teacher_s_logits_in_the_order_of_the_images(make_bank: MakeBank) -> None:
    bank = make_bank(views=1)
    bank.fill()
    outputs = open_teacher_outputs(bank.plan, bank.file, bank.spec.teacher, bank.data, device=CPU)
    assert outputs.read_test_logits is not None
    (batch,) = bank.data.test.batches(batch_size=len(bank.data.test), device=CPU)
    expected = bank.teacher.outputs(batch, Needs(logits=True)).logits
    torch.testing.assert_close(outputs.read_test_logits(), expected)


@pytest.mark.parametrize(
    ("method", "teacher"), [("bp", {"views": 1}), ("kd", {"views": 1}), ("kd", {"online": True})]
)
def test_every_final_is_compared_with_the_teacher(
    method: str, teacher: dict[str, object], make_bank: MakeBank, tmp_path: Path
) -> None:
    bank = make_bank(**teacher)
    metrics = final_of(bank, method, tmp_path / "run")
    network = load_model(tmp_path / "run").network.eval()
    (batch,) = bank.data.test.batches(batch_size=len(bank.data.test), device=CPU)
    with torch.no_grad():
        student = network(batch.images).logits.double().log_softmax(1).numpy()
        of_teacher = bank.teacher.outputs(batch, Needs(logits=True)).logits.double().log_softmax(1).numpy()
    same = student.argmax(1) == of_teacher.argmax(1)
    assert metrics["test_agreement"] == pytest.approx(100 * same.mean())
    divergence = (np.exp(of_teacher) * (of_teacher - student)).sum(1).mean()
    assert metrics["test_teacher_kl"] == pytest.approx(divergence, rel=1e-4)
    likelihood = -student[np.arange(len(student)), batch.labels.numpy()].mean()
    assert metrics["test_nll"] == pytest.approx(likelihood, rel=1e-4)


def test_a_teacher_of_an_earlier_version_is_used_without_it(make_bank: MakeBank) -> None:
    bank = make_bank(views=1)
    path = Path(bank.file.folder) / "teacher.json"
    new = ("test_logits", "test_ece", "test_nll", "test_brier")
    path.write_text(json.dumps({key: value for key, value in asdict(bank.file).items() if key not in new}))
    (Path(bank.file.folder) / TEST_LOGITS).unlink()
    (file,) = load_or_train(bank.spec.teacher, bank.data, device=CPU)
    assert isinstance(file, TrainedTeacher)
    assert (file.test_logits, file.sha256) == (None, bank.file.sha256)
    metrics = final_of(replace(bank, file=file), "kd")
    assert "test_ece" in metrics
    assert not {"test_agreement", "test_teacher_kl"} & metrics.keys()


def test_a_lost_file_stops_a_final_and_is_written_again_by_the_next_start(make_bank: MakeBank) -> None:
    bank = make_bank(views=1)
    path = Path(bank.file.folder) / TEST_LOGITS
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UnreachableError, match=r"logits of the test set cannot be read: .*sha-256 differs"):
        final_of(bank, "kd")
    (file,) = load_or_train(bank.spec.teacher, bank.data, device=CPU)
    assert file == bank.file
    assert path.read_bytes() == content
    assert "test_agreement" in final_of(bank, "kd")


def test_logits_of_too_many_images_and_those_that_are_not_finite_are_not_stored(
    make_bank: MakeBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make_bank(views=1)
    size = 4 * len(bank.data.test) * bank.data.classes
    assert size < MAX_BYTES
    predictions = predictions_with_logits(bank.data, CPU)
    assert predictions.logits is not None
    predictions.logits[0, 0] = torch.inf
    assert write_test_logits(bank.store.shared, predictions) is None
    monkeypatch.setattr("lpstudy.teacher.logits_file.MAX_BYTES", size - 1)
    assert predictions_with_logits(bank.data, CPU).logits is None
