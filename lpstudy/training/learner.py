"""The construction of a run's learner: the student with its auxiliary module and optimiser."""

import torch

from lpstudy.data import Data
from lpstudy.methods import Method, TrainingSamples
from lpstudy.outputs import Network, Outputs
from lpstudy.space import RunSpec
from lpstudy.students import ReusedHeadNetwork
from lpstudy.training import optimizers, precision
from lpstudy.training.memory_format import set_memory_format
from lpstudy.training.partial_epoch import temporary_seed
from lpstudy.training.step import Learner
from lpstudy.training.teacher_outputs import TeacherOutputs, classifier_for, example_outputs
from lpstudy.training.weight_average import WeightAverage


def make_learner(
    trial: RunSpec, method: Method, network: Network, data: Data, teacher: TeacherOutputs | None
) -> Learner:
    """The learner of a run before its first step.

    Args:
        trial: The run.
        method: Its method, resolved for the networks.
        network: The student, on the device of the training.
        data: The data set.
        teacher: The teacher's outputs; None where the method reads none.

    Raises:
        ValueError: The method reads the teacher's classifier and there is none.
    """
    device, training = next(network.parameters()).device, trial.training
    layout = set_memory_format(network)
    classifier = classifier_for(method, teacher)
    if isinstance(network, ReusedHeadNetwork) and classifier is not None:
        network.reuse(classifier)
    images = torch.zeros(2, *data.input_shape, device=device)
    student, target = example_pair(network, method, teacher, images)
    auxiliary = None
    if target is not None:
        with temporary_seed(trial.seed, device), torch.no_grad():
            auxiliary = method.auxiliary(student, target, TrainingSamples(data.train.labels))
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if auxiliary is not None:
        set_memory_format(auxiliary.to(device))
        parameters += auxiliary.parameters()
    return Learner(
        student=network,
        auxiliary=auxiliary,
        method=method,
        maps=method.student_maps(),
        optimizer=optimizers.make_optimizer(parameters, training, device),
        device=device,
        layout=layout,
        bf16=precision.uses_bf16(training.precision, device),
        average=WeightAverage(network, training.ema) if training.ema else None,
    )


@torch.no_grad()
def example_pair(
    network: Network, method: Method, teacher: TeacherOutputs | None, images: torch.Tensor
) -> tuple[Outputs, Outputs | None]:
    """The outputs of student and teacher that the method reads, for some images, with their shapes."""
    network.eval()
    student = network(images, method.student_maps())
    network.train()
    return student, example_outputs(teacher, images, method.teacher_needs()) if teacher else None
