"""The cost of the LP term, forward and backward, against three naive forms; memory; share of a step.

    python benchmarks/lp.py [--json FILE]

All forms get the same features. First the gate: values and gradients agree to 1e-3. A form that would
take over about a second or a GiB is left out, and the table says `-`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from measuring import agree, interleaved, medians, one_thread, show, write
from torch import Tensor, nn, optim
from torch.nn import functional
from watching import Allocations
from workload import BATCH, CLASSES, command, load_images, make_data, network

from lpstudy.data import Order
from lpstudy.methods.lp import lp_loss

SIZES = (64, 512, 4096)
N_NEIGHBORS = 7
LARGEST = {"broadcast": 2**26, "loop": 2**27}
"""m * m * d above which a form is left out: the broadcast holds four such tensors, 1 GiB of float32 in all,
and the loop takes over a second."""

LONG = 2**31
"""m * m * d above which one timed round must do."""

Form = Callable[[Tensor, Tensor, float], Tensor]
"""(student, teacher, bandwidth) -> loss."""


def laplacian(student: Tensor, teacher: Tensor, bandwidth: float) -> Tensor:
    """lpstudy's: one Gram matrix and one top-k for the graph, two products with its Laplacian."""
    return lp_loss(student, teacher, n_neighbors=N_NEIGHBORS, bandwidth=bandwidth)


def gather(student: Tensor, teacher: Tensor, bandwidth: float) -> Tensor:
    """Neighbours gathered into a tensor of shape (m, k, d)."""
    with torch.no_grad():
        distances = torch.cdist(teacher, teacher).square().fill_diagonal_(torch.inf)
        nearest, neighbors = distances.topk(N_NEIGHBORS, largest=False)
        weights = torch.exp(-nearest / bandwidth)
    squared = (student[:, None] - student[neighbors]).square().sum(dim=2)
    return (weights * squared).sum() / (2 * len(student))


def broadcast(student: Tensor, teacher: Tensor, bandwidth: float) -> Tensor:
    """All differences at once, shape (m, m, d), of the teacher and of the student."""
    with torch.no_grad():
        distances = (teacher[:, None] - teacher).square().sum(dim=2).fill_diagonal_(torch.inf)
        nearest, neighbors = distances.topk(N_NEIGHBORS, largest=False)
        weights = torch.zeros_like(distances).scatter_(1, neighbors, torch.exp(-nearest / bandwidth))
    squared = (student[:, None] - student).square().sum(dim=2)
    return (weights * squared).sum() / (2 * len(student))


def loop(student: Tensor, teacher: Tensor, bandwidth: float) -> Tensor:
    """Sample by sample."""
    loss = student.new_zeros(())
    for row in range(len(student)):
        with torch.no_grad():
            distances = (teacher - teacher[row]).square().sum(dim=1)
            distances[row] = torch.inf
            nearest, neighbors = distances.topk(N_NEIGHBORS, largest=False)
            weights = torch.exp(-nearest / bandwidth)
        loss = loss + (weights * (student[neighbors] - student[row]).square().sum(dim=1)).sum()
    return loss / (2 * len(student))


FORMS: Mapping[str, Form] = {"laplacian": laplacian, "gather": gather, "broadcast": broadcast, "loop": loop}


def features(samples: int, width: int) -> tuple[Tensor, Tensor, float]:
    """Student and teacher features, shape (samples, width) each, and a bandwidth.

    The teacher's lie in groups of k + 1: every sample's neighbours are the rest of its group, so that no
    rounding makes two forms choose differently. What a form costs does not depend on the values.
    """
    generator = torch.Generator().manual_seed(samples + width)
    centres = torch.randn(math.ceil(samples / (N_NEIGHBORS + 1)), width, generator=generator)
    spread = 0.3 * torch.randn(samples, width, generator=generator)
    teacher = centres.repeat_interleave(N_NEIGHBORS + 1, dim=0)[:samples] + spread
    return torch.randn(samples, width, generator=generator), teacher, 2 * 0.3**2 * width


def forms_of(samples: int, width: int) -> dict[str, Form]:
    """The forms that are run at a size."""
    elements = samples * samples * width
    return {name: form for name, form in FORMS.items() if elements <= LARGEST.get(name, elements)}


def with_gradient(form: Form, student: Tensor, teacher: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
    """A form's value and its gradient with respect to the student's features."""
    leaf = student.clone().requires_grad_()
    value = form(leaf, teacher, bandwidth)
    return value, torch.autograd.grad(value, leaf)[0]


def measure(samples: int, width: int, rounds: int) -> dict[str, object]:
    """One size: the gate, CPU milliseconds, peak MiB and largest tensor of each form.

    Raises:
        DisagreementError: A form gives another value or gradient.
    """
    student, teacher, bandwidth = features(samples, width)
    memory: dict[str, Allocations] = {}
    results: dict[str, tuple[Tensor, Tensor]] = {}
    for name, form in forms_of(samples, width).items():
        with Allocations() as memory[name]:
            results[name] = with_gradient(form, student, teacher, bandwidth)
    for name, result in results.items():
        for what, one, other in zip(("value", "gradient"), results["laplacian"], result, strict=True):
            agree(f"the {what} of the {name}, m = {samples}, d = {width}", [one], [other])
    sides = {
        name: lambda form=form: with_gradient(form, student, teacher, bandwidth)
        for name, form in forms_of(samples, width).items()
    }
    seconds = medians(interleaved(sides, rounds, warm=True))  # by the gate
    return {
        "m": samples,
        "d": width,
        "ms": {name: 1e3 * value for name, value in seconds.items()},
        "peak_mib": {name: record.peak / 2**20 for name, record in memory.items()},
        "largest_elements": {name: record.largest for name, record in memory.items()},
    }


def share_of_step(root: Any, rounds: int) -> dict[str, float]:
    """CPU ms of FitNet 1's forward, backward and SGD on a batch in fp32, and of LP on its embedding."""
    images = load_images(root, BATCH)
    batch = next(make_data(images, train=BATCH).train.epoch(Order(0, 1, BATCH), device=torch.device("cpu")))
    student: nn.Module = network("fitnet1")
    optimizer = optim.SGD(student.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    one, other, bandwidth = features(BATCH, 500)

    def step() -> None:
        optimizer.zero_grad()
        loss = functional.cross_entropy(student(batch.images).logits[:, :CLASSES], batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()

    def term() -> None:
        for _ in range(20):
            with_gradient(laplacian, one, other, bandwidth)

    seconds = medians(interleaved({"step": step, "lp": term}, rounds))
    return {"step_ms": 1e3 * seconds["step"], "lp_ms": 1e3 * seconds["lp"] / 20}


def table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    """A line for each size: milliseconds, as ratios to the Laplacian's, MiB, and the largest tensor."""
    lines: list[dict[str, object]] = []
    for row in rows:
        ms, mib, largest = row["ms"], row["peak_mib"], row["largest_elements"]
        line: dict[str, object] = {"m": row["m"], "d": row["d"], "laplacian ms": ms["laplacian"]}
        line |= {
            f"{name} x": ms[name] / ms["laplacian"] if name in ms else "-"
            for name in FORMS
            if name != "laplacian"
        }
        line |= {f"{name} MiB": mib.get(name, "-") for name in FORMS}
        line["laplacian's largest / m m d"] = largest["laplacian"] / (row["m"] ** 2 * row["d"])
        lines.append(line)
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = command(__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=SIZES, help="values of m")
    parser.add_argument("--features", type=int, nargs="+", default=SIZES, help="values of d")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds; the largest sizes have fewer")
    options = parser.parse_args(arguments)
    one_thread()
    rows = []
    for samples in options.samples:
        for width in options.features:
            rounds = 1 if samples * samples * width > LONG else options.rounds
            rows.append(measure(samples, width, rounds))
    show("LP, CPU ms forward and backward (k = 7); naive forms as ratios to the Laplacian", table(rows))
    share = share_of_step(options.data_root, options.rounds)
    part = share["lp_ms"] / (share["step_ms"] + share["lp_ms"])
    print(
        f"\nFitNet 1, batch {BATCH}, fp32: LP {share['lp_ms']:.2f} ms of a student step, {100 * part:.2f} %"
    )
    if options.json:
        write(options.json, {"sizes": rows, "n_neighbors": N_NEIGHBORS, "fitnet1": share, "lp_share": part})


if __name__ == "__main__":
    main()
