"""The parts of the report, as Markdown."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from lpstudy.rendering import cell_text
from lpstudy.rendering.class_notes import extra_cells, extra_heads
from lpstudy.rendering.markdown import Markdown, bold, code, escape, join, link, table
from lpstudy.tables.arms import ArmResult, mapping
from lpstudy.tables.diagnostics_table import diagnostics_of, diagnostics_table
from lpstudy.tables.facts import COST_COLUMNS, ArmFacts, StudyFacts
from lpstudy.tables.intervals import interval
from lpstudy.tables.trials import warning_counts
from lpstudy.tables.verdicts import Verdict, is_best, verdicts

_MAX_WARNINGS = 25
_SHORT_ID = 8


def comparison_section(study: StudyFacts, results: list[ArmResult], comparison: pd.DataFrame) -> Markdown:
    """The table of accuracies and sizes.

    Bold marks a difference to back-prop beyond noise, and the accuracy of a method that beats all others.
    """
    has_published = bool(comparison["published"].notna().any())
    more = extra_heads(comparison)
    published_head = ["published"] if has_published else []
    latency_head = [f"ms ({study.latency.target})"] if study.latency and study.latency.rows else []
    heads = (
        "method", "student", "test accuracy % (n)", *more.values(), "Δ `bp`", *published_head, "params",
        "compression", "MACs", "FLOPs", "speed-up", *latency_head,
    )  # fmt: skip
    by_arm = {verdict.result.arm.name: verdict for verdict in verdicts(results)}
    rows = []
    for result, row in _results_and_rows(results, comparison):
        if result is None:
            teacher_accuracy = study.teacher.test_accuracy
            accuracy = interval([] if teacher_accuracy is None else [teacher_accuracy])
            best, difference = False, Markdown(cell_text.NOTHING)
        else:
            accuracy, best = result.accuracy, is_best(result, results)
            difference = _difference(by_arm[result.arm.name])
        text = f"{cell_text.accuracy(accuracy)} ({accuracy.n})" if accuracy.n else cell_text.NOTHING
        rows.append(
            (
                *_names(result, row),
                bold(text) if best else text,
                *extra_cells(row, more),
                difference,
                *([cell_text.published(row)] if has_published else []),
                cell_text.count(row["parameters"]),
                cell_text.ratio(row["compression"]),
                cell_text.count(row["macs"]),
                cell_text.count(row["flops"]),
                cell_text.ratio(row["speedup"]),
                *([_short(row["latency_ms"])] if latency_head else []),
            )
        )
    return table([Markdown(head) for head in heads], rows, left_aligned=2)


def _difference(verdict: Verdict) -> Markdown:
    """The difference to back-prop, or the size of back-prop's winner where sizes differ."""
    if verdict.differs_in_size and verdict.rival is not None:
        return Markdown(f"not compared: `bp` is {code(verdict.rival.winner_label)}")
    text = cell_text.difference(verdict.delta)
    return bold(text) if verdict.is_beyond_noise else escape(text)


def effort_section(
    results: list[ArmResult], comparison: pd.DataFrame, links: Callable[[str], str]
) -> Markdown:
    """The table of auxiliary parameters and state, training cost, stored outputs, trials and run links."""
    heads = (
        "method", "student", "auxiliary", "their bytes", "loss MACs", "teacher's bytes", "training MACs",
        "teacher's share", "finished", "pruned", "failed", "MLflow",
    )  # fmt: skip
    rows = []
    for result, row in _results_and_rows(results, comparison):
        share = math.nan if result is None else result.teacher_share
        run = str(row["mlflow_run_id"])
        rows.append(
            (
                *_names(result, row),
                *(cell_text.count(row[name]) for name in ("auxiliary_parameters", *COST_COLUMNS)),
                cell_text.count(row["training_macs"]),
                f"{100 * share:.0f} %" if math.isfinite(share) else cell_text.NOTHING,
                *(cell_text.count(row[f"trials_{state}"]) for state in ("finished", "pruned", "failed")),
                link(run[:_SHORT_ID], links(run)) if run else cell_text.NOTHING,
            )
        )
    return table(heads, rows, left_aligned=2)


def _results_and_rows(
    results: list[ArmResult], comparison: pd.DataFrame
) -> Iterator[tuple[ArmResult | None, "pd.Series[Any]"]]:
    """The comparison's rows, each with its arm's result; None for the teacher."""
    for result, (_, row) in zip((None, *results), comparison.iterrows(), strict=True):
        yield result, row


def _names(result: ArmResult | None, row: "pd.Series[Any]") -> tuple[Markdown, Markdown]:
    return (Markdown("teacher") if result is None else code(result.arm.method)), escape(row["student"])


def notes(results: list[ArmResult]) -> list[Markdown]:
    """Notes on the table: missing finals, missing records of test images, and infeasible designs."""
    by_state: dict[str, list[str]] = {}
    for result in results:
        finals = result.finals
        for state, count in finals[~finals["state"].eq("finished")]["state"].value_counts().items():
            by_state.setdefault(str(state), []).append(f"{count} of {arm_words(result.arm)}")
    counts = [result.states.get("infeasible", 0) for result in results]
    pairs = zip(counts, results, strict=True)
    infeasible = [f"{count} of {arm_words(result.arm)}" for count, result in pairs if count]
    if len(infeasible) > 1 and len(set(counts)) == 1:
        infeasible = [f"{counts[0]} in each arm"]
    paragraphs = [
        Markdown(f"Finals left out because they are {escape(state)}: {', '.join(arms)}.")
        for state, arms in by_state.items()
    ]
    without_records = [
        arm_words(one.result.arm)
        for one in verdicts(results)
        if one.delta.n > 1 and not one.delta.has_records
    ]
    if without_records:
        paragraphs.append(
            Markdown(
                "No record says which test images these finals classify correctly: the intervals of their "
                "Δ `bp` take the fewest images that can differ, and may be too narrow: "
                f"{', '.join(without_records)}."
            )
        )
    if infeasible:
        paragraphs.append(
            Markdown(
                f"Designs beyond the study's constraints, not trained and not counted:"
                f" {', '.join(infeasible)}."
            )
        )
    return paragraphs


TARGETS = "teacher's outputs"
"""The provenance key of the note on the teacher's outputs, shown with the budget."""
WARM_START = "warm start"
"""The provenance key of the first points from another study, one line each, shown with the budget."""
REMARKS = "data remarks"
"""The provenance key of the remarks on the data, one per line, shown with the warnings."""
NETWORK_REMARKS = "network remarks"
"""The provenance key of the remarks on networks, one per line, shown with the warnings."""


def budget_section(study: StudyFacts) -> Markdown:
    """Every arm's budget on one line."""
    return join((Markdown(f"{escape(name)} {escape(amount)}") for name, amount in study.budget.items()), ", ")


def warm_start_section(study: StudyFacts) -> list[Markdown]:
    """Which arms have first points from another study, and what was skipped; one line each."""
    text = study.provenance.get(WARM_START, "")
    return [escape(line) for line in f"{text[:1].upper()}{text[1:]}".splitlines()]


def tuned_section(results: list[ArmResult]) -> list[tuple[Markdown, Markdown, Markdown]]:
    """Each method's heading, table of ranges and best values, and fixed values."""
    parts = []
    for method in dict.fromkeys(result.arm.method for result in results):
        method_results = [result for result in results if result.arm.method == method]
        arms = [result.arm for result in method_results]
        names = list(dict.fromkeys(name for arm in arms for name in arm.ranges))
        best = [_best_values(result) for result in method_results]
        rows = [
            (
                code(name),
                join(dict.fromkeys(arm.ranges[name] for arm in arms if name in arm.ranges), "; "),
                *(cell_text.value(values[name]) if name in values else cell_text.NOTHING for values in best),
            )
            for name in names
        ]
        heads = ["hyperparameter", "searched", *(Markdown(f"best, {code(arm.student)}") for arm in arms)]
        ranges = table(heads, rows, left_aligned=2) if rows else Markdown("Nothing was searched.")
        fixed = {name: text for arm in arms for name, text in arm.fixed.items()}
        settings = join((Markdown(f"{code(name)} {escape(text)}") for name, text in fixed.items()), ", ")
        parts.append((code(method), ranges, settings))
    return parts


def _best_values(result: ArmResult) -> dict[str, object]:
    run = result.winner
    return {} if run is None else dict(mapping(run["hyperparameters"])) | dict(mapping(run["searched"]))


def diagnostics_section(results: list[ArmResult], curves: pd.DataFrame) -> Markdown | None:
    """The table of the methods' diagnostics; None without any."""
    frame = diagnostics_table(results, curves)
    if frame.empty:
        return None
    arms = {result.arm.name: result.arm for result in results}
    heads = {one.name: one.head for one in diagnostics_of(results)}
    metrics = list(frame.columns[1:])
    rows = [
        (arm_words(arms[str(row["arm"])]), *(_short(row[metric]) for metric in metrics))
        for _, row in frame.iterrows()
    ]
    return table(["arm", *(heads[metric] for metric in metrics)], rows)


def warnings_section(study: StudyFacts, runs: pd.DataFrame) -> Markdown:
    """The remarks on data and networks, and the distinct warnings of each arm with their run counts."""
    counts = warning_counts(runs)
    of_data = [f"data: {remark}" for remark in study.provenance.get(REMARKS, "").splitlines()]
    lines = of_data + study.provenance.get(NETWORK_REMARKS, "").splitlines()
    remarks = Markdown("\n".join(f"* {line[0].upper()}{escape(line[1:])}." for line in lines))
    if counts.empty:
        return remarks or Markdown("None.")
    arms = {arm.name: arm for arm in study.arms}
    rows = [
        (arm_words(arms[name]) if name in arms else code(name), text, number)
        for name, text, number in counts.head(_MAX_WARNINGS).itertuples(index=False)
    ]
    heads = ["arm", "warning", "runs"]
    warnings = table(heads, rows, left_aligned=2)
    text = Markdown(f"{remarks}\n\n{warnings}") if remarks else warnings
    more = len(counts) - _MAX_WARNINGS
    return Markdown(f"{text}\n\n{more} more in [trials.csv](trials.csv).") if more > 0 else text


def provenance_section(study: StudyFacts) -> Markdown:
    """The table of provenance, without the command and the remarks that other sections show."""
    teacher = study.teacher
    seed = "" if teacher.seed is None else f", seed {teacher.seed}"
    elsewhere = ("command", TARGETS, WARM_START, REMARKS, NETWORK_REMARKS)
    rows: list[tuple[object, object]] = [
        (name, text) for name, text in study.provenance.items() if name not in elsewhere
    ]
    rows.append(("teacher", Markdown(f"{code(teacher.label)}{seed}, weights {code(teacher.weights_hash)}")))
    return table(["", ""], rows, left_aligned=2)


def arm_words(arm: ArmFacts) -> Markdown:
    """An arm as text: its method on its student."""
    return Markdown(f"{code(arm.method)} on {code(arm.student)}")


def _short(value: object) -> str:
    number = cell_text.real(value)
    return cell_text.NOTHING if number is None else f"{number:.3g}"
