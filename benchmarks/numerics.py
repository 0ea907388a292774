"""The effect of bfloat16 on test accuracy: the same runs in float32 and in bfloat16, paired by seed.

    python benchmarks/numerics.py digits [--methods bp kd ...] [--seeds 12] [--epochs 30] [--device cuda]
        [--json FILE]

Data, teacher and first student are those of a study in search_spaces/; each method has its default
hyperparameters, batches of 50 and a learning rate of 0.02. One teacher, trained in float32, serves both:
its bank is computed, and the students are trained and read, in the side's own format. A difference whose 95 %
interval excludes zero would make bfloat16 more than a matter of speed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from banking import own_cache
from measuring import one_thread, show, write
from workload import command

from lpstudy.data import Data, load
from lpstudy.methods import METHODS
from lpstudy.space import Precision, RunSpec, StudySpec, Training
from lpstudy.space.study_toml import find_study_file, read_study_file
from lpstudy.students import StudentSpec
from lpstudy.tables.intervals import Interval, interval
from lpstudy.tables.scores import Scores
from lpstudy.teacher import (
    TrainedTeacher,
    bank_store,
    compute_blocks,
    load_or_train,
    open_teacher,
    open_teacher_outputs,
    plan_bank,
)
from lpstudy.training import TeacherOutputs, train

BOTH: tuple[Precision, Precision] = ("fp32", "bf16")


@dataclass(frozen=True, slots=True)
class Compared:
    """One method in both number formats: test accuracy in percent over the seeds."""

    method: str
    fp32: Interval
    bf16: Interval
    difference: Interval
    """bfloat16 less float32, paired by seed."""


def banks(spec: StudySpec, data: Data, device: torch.device) -> dict[Precision, TeacherOutputs]:
    """The teacher's outputs as each side has them."""
    views = plan_bank(spec, data)
    alone = spec.teacher.model_copy(update={"precision": "fp32"})
    *_, file = load_or_train(alone, data, device=device)
    if not isinstance(file, TrainedTeacher):
        raise RuntimeError("the teacher's training was ended early")
    teacher_outputs: dict[Precision, TeacherOutputs] = {}
    for precision in BOTH:
        teacher = spec.teacher.model_copy(update={"precision": precision})
        store = bank_store(views, file, teacher, data, device)
        store.prepare()
        missing, _ = store.missing()
        for computed_block in compute_blocks(
            store, data, open_teacher(file, teacher, data, device=device), missing
        ):
            store.enter(computed_block.block, computed_block.digests)
        teacher_outputs[precision] = open_teacher_outputs(views, file, teacher, data, device=device)
    return teacher_outputs


def trial_of(spec: StudySpec, method: str, precision: Precision, seed: int) -> RunSpec:
    """A run of the study's first student, with the method's default hyperparameters."""
    student = StudentSpec.model_validate(spec.students[0].fixed)
    training = Training(batch_size=50, learning_rate=0.02, precision=precision, checkpoint_seconds=1e9)
    return RunSpec.model_validate(
        {
            "student": student,
            "method": METHODS[method].model_validate({}),
            "training": training,
            "epochs": spec.budget.epochs,
            "seed": seed,
        }
    )


def accuracy(run: RunSpec, data: Data, bank: TeacherOutputs, device: torch.device) -> float:
    """Test accuracy after a run's last epoch, in percent."""
    *_, last = train(run, data, bank, device=device, read_test=True)
    return last.metrics["test_accuracy"]


def compared(spec: StudySpec, methods: Sequence[str], seeds: int, device: torch.device) -> Iterator[Compared]:
    """Each method, as it is done."""
    loaded = load(spec.data)
    teacher_outputs = banks(spec, loaded, device)
    data = loaded.with_views(plan_bank(spec, loaded).views)
    for method in methods:
        accuracies: dict[Precision, dict[int, float]] = {precision: {} for precision in BOTH}
        for seed in range(1, seeds + 1):
            for precision in BOTH:
                value = accuracy(
                    trial_of(spec, method, precision, seed), data, teacher_outputs[precision], device
                )
                accuracies[precision][seed] = value
        one, other = accuracies["fp32"], accuracies["bf16"]
        yield Compared(
            method,
            interval(list(one.values())),
            interval(list(other.values())),
            Scores(other).less(Scores(one)),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, print and write."""
    parser = command(__doc__)
    parser.add_argument("study", help="its name in search_spaces/, or a path")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--epochs", type=int, help="default: the study's")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where all of it runs")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "numerics.py: there is no GPU here\n")
    one_thread()
    torch.manual_seed(0)
    spec = read_study_file(find_study_file(options.study), epochs=options.epochs)
    lines: list[dict[str, object]] = []
    with own_cache():
        for one in compared(spec, options.methods, options.seeds, torch.device(options.device)):
            line: dict[str, object] = {"method": one.method, "seeds": one.difference.n}
            line |= {"fp32 %": one.fp32.mean, "bf16 %": one.bf16.mean}
            line |= {"difference": one.difference.mean, "+-": one.difference.half_width}
            lines.append(line)
    show(f"{spec.name}, {spec.budget.epochs} epochs, test accuracy", lines)
    if options.json:
        write(
            options.json,
            {"study": spec.name, "epochs": spec.budget.epochs, "device": options.device, "methods": lines},
        )


if __name__ == "__main__":
    main()
