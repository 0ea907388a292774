"""Methods that read the teacher's classifier are refused where it has none."""

from argparse import Namespace
from pathlib import Path

import pytest
from commands import write_study
from imports import no_imported_code

from lpstudy.command.prepare import prepare
from lpstudy.data import DataSpec, load
from lpstudy.model_file import describe
from lpstudy.students import StudentSpec, build
from lpstudy.training.checkpoint import to_safetensors

SQUARED = """
from lpstudy.outputs import Network, Outputs
from lpstudy.students import StudentSpec, register_family
from lpstudy.students.convnet import ConvNet

class Squared(ConvNet):
    def forward(self, images, maps=()):
        outputs = super().forward(images, maps)
        return Outputs(outputs.logits.square(), outputs.embedding, outputs.maps)

def build(spec, *, input_shape, classes):
    return Squared(depth=2, width=spec.width, input_shape=input_shape, classes=classes)

register_family("squared", build)
"""


@pytest.mark.parametrize(
    ("method", "where"),
    [("srrl", "methods.srrl"), ("simkd", "students: convnet-d2-w2: a student cannot end")],
)
def test_a_teacher_without_a_linear_classifier_is_refused_in_one_line(
    method: str, where: str, tmp_path: Path
) -> None:
    code = tmp_path / "squared.py"
    code.write_text(SQUARED)
    teacher = 'family = "convnet"\ndepth = 2\nwidth = 4\nepochs'
    changes = [(teacher, 'family = "squared"\nwidth = 4\nepochs'), ("[methods.bp]", f"[methods.{method}]")]
    study = write_study(tmp_path, *changes)
    flags = {"trials": None, "epochs": None, "seeds": None, "data_root": None, "imports": [code]}
    words = f"{where}.*: its logits are not a linear layer of its embedding"
    with no_imported_code(), pytest.raises(ValueError, match=words) as caught:
        prepare(Namespace(study=str(study), **flags))
    assert "\n" not in str(caught.value)


def test_a_teacher_of_other_images_must_say_their_size_in_the_study_file(tmp_path: Path) -> None:
    data = load(DataSpec(kind="digits", labels_per_class=5))
    teacher = StudentSpec(family="convnet", depth=2, width=4)
    state = build(teacher, input_shape=(1, 16, 16), classes=data.classes).state_dict()
    description = describe(teacher, data, input_shape=(1, 16, 16))
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(to_safetensors(state, description.metadata()))
    flags = {"trials": None, "epochs": None, "seeds": None, "data_root": None, "imports": []}
    teacher_of = f'depth = 2\nwidth = 4\nweights = "{path}"\n'
    changes = [("depth = 2\nwidth = 4\n", teacher_of), ("[methods.bp]", "[methods.simkd]")]
    study = write_study(tmp_path, *changes)
    with pytest.raises(ValueError, match=r"methods\.simkd: needs .* give \[teacher\] image_size"):
        prepare(Namespace(study=str(study), **flags))
    study = write_study(tmp_path, (changes[0][0], f"{teacher_of}image_size = 16\n"), changes[1])
    assert prepare(Namespace(study=str(study), **flags)).plan.classifier
