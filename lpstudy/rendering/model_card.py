"""The model card of a deployed folder, in the form of the Hugging Face hub: YAML head, then Markdown."""

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lpstudy.deployment.config import CONFIG, INT8, ONNX, PROGRAM, WEIGHTS, Deployment
from lpstudy.deployment.latency import LatencyTable
from lpstudy.deployment.package import Package
from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, escape, join, render, table
from lpstudy.rendering.sections import REMARKS, budget_section, provenance_section
from lpstudy.tables import StudyFacts
from lpstudy.tables.arms import ArmResult, baseline_of, number
from lpstudy.tables.text import public_text
from lpstudy.tables.weak_teacher import teacher_warnings

MOST_CLASSES = 100
"""Classes that a card names; `config.json` has all."""


@dataclass(frozen=True, eq=False, slots=True)
class CardFacts:
    """What a card says."""

    study: StudyFacts
    runs: pd.DataFrame
    results: list[ArmResult]
    result: ArmResult
    """That of the arm of the deployed network."""
    final: "pd.Series[Any]"
    """The row of the deployed final."""
    package: Package
    library: str
    """The library that loads the weights: timm or lpstudy."""


def model_card(facts: CardFacts) -> str:
    """The content of README.md; foreign names are escaped wherever they stand."""
    study, deployment, result = facts.study, facts.package.deployment, facts.result
    names = deployment.model.class_names
    size, origin = _pixels(deployment), deployment.origin
    problems = [f"{code(name)} ({escape(why)})" for name, why in deployment.problems.items()]
    return render(
        "model_card.md.j2",
        front_matter=_front_matter(facts),
        title=join((code(result.winner_label), "on", code(study.data))),
        summary=Markdown(
            f"An image classifier of {len(names)} classes for images of {size} pixels, trained with"
            f" {code(result.arm.method)} {_from_teacher(facts)}in the study {code(study.name)} of lpstudy."
        ),
        accuracy=_accuracy(facts),
        seed_rule=Markdown(
            f"The arm has {escape(origin.arm_rule)}. The weights are those of seed {origin.seed}:"
            f" {escape(origin.seed_rule)}. The test set chose neither."
        ),
        files=_files(deployment),
        comparison=Markdown(
            f"Each file is compared with torch on {_image_count(deployment)} test images: on how many of them"
            " both name the same class, and the largest difference of their logits."
        ),
        problems=Markdown("; ".join(problems)),
        input=_input(deployment),
        classes=_classes(names),
        cost=_cost(facts),
        latency=_latency(facts.package.latency),
        machine=_machine(facts.package.latency),
        training=_training(study),
        budget=Markdown(f"Every arm had the same budget: {budget_section(study)}."),
        limits=_limits(facts),
        provenance=provenance_section(study),
    )


def _front_matter(facts: CardFacts) -> Markdown:
    """The YAML head. Each value is JSON in ASCII on one line, which is YAML in which nothing is active."""
    result, deployment = facts.result, facts.package.deployment
    onnx = ["onnx"] if ONNX in deployment.files else []
    tags = ["image-classification", "knowledge-distillation", "lpstudy", *onnx]
    metric = {
        "type": "accuracy",
        "name": "test accuracy of this file, share",
        "value": round(deployment.test_accuracy / 100, 6),
    }
    values: dict[str, object] = {
        "library_name": facts.library,
        "pipeline_tag": "image-classification",
        "tags": tags,
        "model-index": [
            {
                "name": _plain(f"{facts.study.name} {result.arm.method} {result.winner_label}"),
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {
                            "name": _plain(facts.study.data),
                            "type": _plain(facts.study.data),
                            "split": "test",
                        },
                        "metrics": [metric],
                    }
                ],
            }
        ],
    }
    return Markdown("\n".join(f"{key}: {json.dumps(value)}" for key, value in values.items()))


def _plain(text: str) -> str:
    return public_text(text)


def _pixels(deployment: Deployment) -> str:
    channels, height, width = deployment.model.input_shape
    return f"{width}x{height}" + (" grey" if channels == 1 else "")


def _from_teacher(facts: CardFacts) -> str:
    is_alone = facts.result.arm.method == "bp"
    return "without a teacher " if is_alone else f"from the teacher {code(facts.study.teacher.label)} "


def _image_count(deployment: Deployment) -> str:
    return f"{deployment.test_images:,}"


def _accuracy(facts: CardFacts) -> Markdown:
    study, result, deployment = facts.study, facts.result, facts.package.deployment
    arm, label = result.arm, code(result.winner_label)
    rows: list[tuple[object, object, object]] = [
        (
            Markdown(f"this network, seed {deployment.origin.seed}, torch in float32"),
            f"{deployment.test_accuracy:.2f}",
            f"1 seed, {_image_count(deployment)} images",
        ),
    ]
    recorded, precision = deployment.model.test_accuracy, deployment.model.precision
    if recorded is not None and recorded != deployment.test_accuracy:
        words = Markdown(f"the same, as the study has measured it in {precision}")
        rows.append((words, f"{recorded:.2f}", f"1 seed, {study.test_samples:,} images"))
    if INT8 in deployment.files:
        check = deployment.files[INT8]
        n = f"1 seed, {check.images:,} images"
        rows.append((Markdown("the same in int8"), f"{check.test_accuracy:.2f}", n))
    rows.append((_mean_words(f"{code(arm.method)} on {label}"), *_interval_cells(result)))
    base = baseline_of(result, facts.results)
    if base is not None and base.accuracy.n:
        words = _mean_words(f"plain back-prop on {code(base.winner_label)}")
        rows.append((words, *_interval_cells(base)))
    if study.teacher.test_accuracy is not None:
        teacher = Markdown(f"the teacher {code(study.teacher.label)}")
        rows.append((teacher, f"{study.teacher.test_accuracy:.2f}", f"{study.test_samples:,} images"))
    heads = ("", "test accuracy %", "n")
    note = "The interval is of 95 % over seeds and test images; one seed has none."
    return Markdown(f"{table(heads, rows)}\n\n{note}")


def _mean_words(words: str) -> Markdown:
    return Markdown(f"mean of {words}")


def _interval_cells(result: ArmResult) -> tuple[str, str]:
    seeds = cell_text.seeds(result.accuracy.n)
    images = f", {result.test_images:,} images" if result.test_images else ""
    return cell_text.accuracy(result.accuracy), f"{seeds}{images}"


def _files(deployment: Deployment) -> Markdown:
    words = {
        ONNX: "ONNX, for onnxruntime",
        PROGRAM: "a program of torch.export",
        INT8: "ONNX in int8, for onnxruntime",
    }
    rows: list[tuple[object, ...]] = [
        (code(WEIGHTS), "weights", "", "", "", ""),
        (code(CONFIG), "network, classes, preprocessing, these figures", "", "", "", ""),
    ]
    for name, check in deployment.files.items():
        rows.append(
            (
                code(name),
                words.get(name, ""),
                f"{check.bytes / 1000:,.1f} kB",
                f"{check.same_top1:,} of {check.images:,}",
                f"{check.largest_difference:.2g}",
                f"{check.test_accuracy:.2f}",
            )
        )
    rows.append((code("latency.json"), "all measured latencies", "", "", "", ""))
    heads = ("file", "what it is", "size", "same class as torch", "largest difference", "test accuracy %")
    return table(heads, rows, left_aligned=2)


def _input(deployment: Deployment) -> Markdown:
    model = deployment.model
    channels, height, width = model.input_shape
    if model.resizing == "none":
        size = f"An image must have {width}x{height} pixels."
    elif model.resize:
        size = (
            f"The shorter side of an image is resized to {model.resize} pixels (bilinear, antialiased), then"
            f" its centre square of {width} pixels is cut out."
        )
    else:
        size = f"The centre square of an image is resized to {width}x{height} pixels (bilinear, antialiased)."
    colours = "grey" if channels == 1 else "RGB"
    layout = f"float32 of shape (batch, {channels}, {height}, {width}) in 0..1, {colours}"
    mean, std = (", ".join(f"{one:.6g}" for one in values) for values in (model.mean, model.std))
    return Markdown(
        f"{size} `lpstudy.load` does that. {code(ONNX)} and {code(PROGRAM)} take `images`, {layout}, and give"
        f" `logits`: they normalise by themselves. The bare network in {code(WEIGHTS)} takes images that are"
        f" normalised by mean {mean} and standard deviation {std}."
    )


def _classes(names: tuple[str, ...]) -> Markdown:
    listed = ", ".join(escape(name) for name in names[:MOST_CLASSES])
    more = f", and {len(names) - MOST_CLASSES} more in {code(CONFIG)}" if len(names) > MOST_CLASSES else ""
    return Markdown(f"Classes in the order of the logits: {listed}{more}.")


def _cost(facts: CardFacts) -> Markdown:
    final, teacher = facts.final, facts.study.teacher
    parameters, macs = number(final["parameters"]), number(final["macs"])
    rows: list[tuple[object, object]] = [
        ("parameters", f"{parameters:,.0f}"),
        ("MACs of an image's forward pass", f"{macs:,.0f}"),
        ("parameters of the teacher over these", cell_text.ratio(teacher.parameters / parameters)),
        ("MACs of the teacher over these", cell_text.ratio(teacher.macs / macs)),
        ("MACs of the training of this final", cell_text.count(final["training_macs"])),
        ("seconds of it", cell_text.count(final["seconds"])),
        ("trials of the search of its arm", str(len(facts.result.trials))),
    ]
    return table(("", ""), rows)


def _latency(latency: LatencyTable) -> Markdown:
    rows = [
        (
            Markdown(f"{code(row.model)}, {row.runtime}"),
            f"{row.target}, {row.threads} thread{'s' * (row.threads > 1)}",
            str(row.batch),
            f"{row.median_ms:.3g}",
            f"{row.p95_ms:.3g}",
            f"{row.runs:,}",
        )
        for row in latency.rows
    ]
    heads = ("network", "where", "batch", "median ms", "95th percentile ms", "runs")
    return table(heads, rows, left_aligned=2)


def _machine(latency: LatencyTable) -> Markdown:
    machine = latency.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    gpu = f", {machine.gpu}" if machine.gpu else ""
    cores = f"{machine.cores} core{'s' * (machine.cores > 1)}"
    skipped = "".join(f" Not measured: {one}." for one in latency.skipped)
    return join((f"Measured on {machine.cpu}, {cores}{gpu}, {machine.system}; {versions}.{skipped}",))


def _training(study: StudyFacts) -> Markdown:
    sizes = (
        f"{study.train_samples:,} training images, {study.validation_samples:,} of validation and"
        f" {study.test_samples:,} of test"
    )
    labels = "".join(f" {escape(words)}." for words in study.label_words)
    return Markdown(
        f"Data: {code(study.data)}, {study.classes} classes, {sizes}.{labels} The validation part, cut from"
        " the training set, chose the hyperparameters of each arm; the winners were trained again on several"
        " seeds and read once, at their last epoch, on the test set."
    )


def _limits(facts: CardFacts) -> list[Markdown]:
    study = facts.study
    remarks = study.provenance.get(REMARKS, "").splitlines()
    warnings = teacher_warnings(study.teacher, facts.runs, study.validation_samples)
    return [
        Markdown(
            "The accuracies hold for images like those of the test set. The interval leaves out what another"
            " split, another teacher or another search would give."
        ),
        Markdown(
            "Probabilities are the softmax of the logits; nothing has been done that they be calibrated. An"
            " image of no class gets a class, too."
        ),
        Markdown("Latencies, and the accuracy in int8, are those of the machine above; kernels differ."),
        *[Markdown(f"Data: {escape(remark)}.") for remark in remarks],
        *[Markdown(f"{escape(warning[0].upper() + warning[1:])}.") for warning in warnings],
    ]
