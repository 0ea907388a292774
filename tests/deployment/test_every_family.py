"""Every family of students becomes ONNX, a program of torch.export and int8, and agrees with torch."""

from pathlib import Path

import pytest
from deployments import of_data, random_data, write_folder

import lpstudy
from lpstudy.deployment.agreement import float_batches, read_test_images
from lpstudy.deployment.int8_file import write_int8
from lpstudy.deployment.onnx_file import write_onnx
from lpstudy.deployment.program_file import write_program
from lpstudy.students import StudentSpec

SPECS = (
    {"family": "convnet", "depth": 3, "width": 8},
    {"family": "maxout", "depth": 3, "width": 4},
    {"family": "resnet", "depth": 8, "width": 1},
    {"family": "wrn", "depth": 10, "width": 1},
    {"family": "vgg", "depth": 8, "width": 4},
    {"family": "mobilenetv2", "width": 10},
    {"family": "shufflenetv1", "width": 25},
    {"family": "shufflenetv2", "width": 50},
    {"family": "torchvision", "design": "resnet18", "stem": "small"},
    {"family": "timm", "design": "test_efficientnet"},
    {"family": "timm", "design": "test_vit"},
)


@pytest.mark.parametrize("table", SPECS, ids=lambda table: "-".join(map(str, table.values())))
def test_all_its_files_agree_with_torch(table: dict[str, object], tmp_path: Path) -> None:
    data = random_data((3, 32, 32), 24)
    model = of_data(StudentSpec.model_validate(table), data)
    write_folder(tmp_path, model)
    images = read_test_images(model, data.test)
    for write, name in ((write_onnx, "model.onnx"), (write_program, "model.pt2")):
        write(model, data.input_shape, tmp_path / name)
        check = images.compare(tmp_path / name)
        assert check.same_top1 == check.images == 24
        assert check.largest_difference < 1e-4 * max(1, abs(images.logits).max())
    write_int8(tmp_path / "model.onnx", tmp_path / "int8.onnx", float_batches(data.test, images.samples))
    check = images.compare(tmp_path / "int8.onnx")
    assert check.largest_difference < abs(images.logits).max()
    batch = next(iter(data.test.batches(batch_size=24, device=images.samples.device))).images
    loaded = lpstudy.load(tmp_path).model.network
    assert loaded(batch).logits.equal(model.network(batch).logits)
