"""A method held against its networks before anything starts."""

import torch

from lpstudy.command.loss_trial import BatchShape, try_loss
from lpstudy.data import Data
from lpstudy.methods import Distillation, TrainingSamples
from lpstudy.methods.reductions import layer_names, reduce_maps
from lpstudy.outputs import Network, Outputs
from lpstudy.students import HeadShape, ReusedHeadNetwork


def check_method(
    method: Distillation, student: Network, teacher: Network, data: Data, *, samples: int
) -> None:
    """Check a method against its networks, which are on the meta device, and try its loss on a batch.

    Args:
        method: The method.
        student: The student.
        teacher: The teacher.
        data: The data set.
        samples: Images of the batch.

    Raises:
        ValueError: A network lacks what the method reads. Code of one's own may raise any error.
    """
    method = method.resolved(student, teacher)
    needs = method.teacher_needs()
    if needs.classifier:
        _check_classifier(teacher, student, data)
    mine = _shapes(student, data, method.student_maps())
    theirs = reduce_maps(_shapes(teacher, data, layer_names(needs.maps)), needs.maps)
    method.auxiliary(mine, theirs, TrainingSamples(data.train.labels))
    batch = BatchShape(samples, data.input_shape, data.classes, data.train.labels)
    try_loss(method, mine, theirs, batch)


def _check_classifier(teacher: Network, student: Network, data: Data) -> None:
    try:
        shape = HeadShape.of(teacher, data.input_shape)
    except ValueError as error:
        raise ValueError(f"reads the teacher's classifier: {error}") from None
    if isinstance(student, ReusedHeadNetwork) and student.teacher != shape:
        raise ValueError(
            "needs the size of the teacher's images in the study file: give [teacher] image_size"
        )


@torch.no_grad()
def _shapes(network: Network, data: Data, maps: tuple[str, ...]) -> Outputs:
    """The shapes of a network's outputs for two images, as tensors without values."""
    outputs: Outputs = network.eval()(torch.empty(2, *data.input_shape, device="meta"), maps)
    return outputs
