"""Writing of a study's report: Markdown, tables and figures, each file atomically."""

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lpstudy import figures
from lpstudy.disk import write_atomically
from lpstudy.rendering.answer import answer
from lpstudy.rendering.best_model import best_model_section
from lpstudy.rendering.beyond_accuracy import beyond_accuracy_section
from lpstudy.rendering.class_notes import class_notes
from lpstudy.rendering.complexity_section import complexity_section
from lpstudy.rendering.cost_section import cost_section
from lpstudy.rendering.coverage_section import coverage_lines, variance_section
from lpstudy.rendering.equal_compute import equal_compute_notes
from lpstudy.rendering.front_section import front_section
from lpstudy.rendering.growth import growth_section, hidden_note
from lpstudy.rendering.latency_section import latency_section
from lpstudy.rendering.latex import latex_table
from lpstudy.rendering.markdown import block, escape, render
from lpstudy.rendering.page import page
from lpstudy.rendering.pairs_note import pairs_note
from lpstudy.rendering.published import published_note
from lpstudy.rendering.search_notes import search_notes
from lpstudy.rendering.search_section import importance_note, search_section
from lpstudy.rendering.sections import (
    TARGETS,
    budget_section,
    comparison_section,
    diagnostics_section,
    effort_section,
    notes,
    provenance_section,
    tuned_section,
    warm_start_section,
    warnings_section,
)
from lpstudy.rendering.shift_section import shift_section
from lpstudy.rendering.svg import svg
from lpstudy.tables import StudyResults, spreadsheet_safe, trials_table
from lpstudy.tables.budgets import budget_table
from lpstudy.tables.classes import class_table
from lpstudy.tables.complexity import complexity_table
from lpstudy.tables.costs import cost_table
from lpstudy.tables.front import front_table, hypervolume_table
from lpstudy.tables.pairs import pairs_table
from lpstudy.tables.search_quality import search_table
from lpstudy.tables.shift import shift_rows, shift_table
from lpstudy.tables.variance import variance_table
from lpstudy.tables.weak_teacher import teacher_warnings

COMPLEXITY = "complexity.csv"
"""What each method adds to a training step, where finals have timed theirs."""
COSTS = "cost.csv"
"""What each phase of an arm has spent, where runs have measured it."""
SHIFT = "shift.csv"
"""The accuracies on corrupted test images, where finals were measured on them."""
CLASSES = "classes.csv"
"""The accuracies by class, where the test set's classes are uneven."""
SEARCH = "search.csv"
"""How far each arm's search was."""
FRONT, HYPERVOLUME = "front.csv", "hypervolume.csv"
"""The designs of the fronts, and the hypervolume of each front, where depth or width is searched."""
BUDGETS = "budgets.csv"
"""The best student for each budget, where there are students of two sizes."""
PAIRS = "pairs.csv"
"""Every two methods of a student, where two have results."""
VARIANCE = "variance.csv"
"""The parts of the variance of a final's accuracy."""
FIGURE_NAMES = (
    "differences",
    "accuracy_over_macs",
    "accuracy_over_parameters",
    "accuracy_over_training",
    "pareto_fronts",
    "learning_curves",
    "search_history",
    "search_progress",
    "importance",
    "slices",
    "contours",
    "parallel_coordinates",
    "timeline",
)
"""The figures of a report, those first that are first in the Markdown."""


@dataclass(frozen=True, slots=True)
class Report:
    """The files of a report."""

    markdown: Path
    files: tuple[Path, ...]
    """All of them, the Markdown first."""


def write_report(
    folder: Path,
    results: StudyResults,
    importances: Mapping[str, Mapping[str, float]],
    *,
    links: Callable[[str], str],
) -> Report:
    """Write report.md, report.html, tables as CSV and LaTeX, and figures/*.png and *.svg, over existing ones.

    pairs.csv is of students with two comparable results, classes.csv of a test set whose classes are uneven.

    The same results give the same bytes. No file contains an absolute path, or a cell that a spreadsheet runs
    as a formula.

    Args:
        folder: The report's folder; created if it does not exist.
        results: The study's results.
        importances: For each arm's name, each searched hyperparameter's share in [0, 1].
        links: The web address of a run given its id, or "" where it has none.

    Raises:
        ValueError: A frame lacks a column.
        OSError: The folder cannot be written; a `DiskFullError` where there is no room.
    """
    (folder / "figures").mkdir(parents=True, exist_ok=True)  # fails before the work starts
    report_figures = {name: figure for name, figure in _draw(results, importances).items() if figure}
    text = report_text(results, report_figures, links=links)
    table, arms = results.comparison, results.arms
    markdown = folder / "report.md"
    contents = {_figure_path(folder, name): _png(figure) for name, figure in report_figures.items()}
    drawings = {name: svg(figure) for name, figure in report_figures.items()}
    contents |= {_figure_path(folder, name, "svg"): _utf8(drawn) for name, drawn in drawings.items()}
    contents[folder / "comparison.csv"] = _csv(spreadsheet_safe(table))
    contents[folder / "comparison.tex"] = _utf8(latex_table(text))
    contents[folder / "trials.csv"] = _csv(trials_table(results.runs))
    tables = (
        (PAIRS, pairs_table(arms)),
        (CLASSES, class_table(results.facts, arms)),
        (FRONT, front_table(results.facts, results.fronts)),
        (HYPERVOLUME, hypervolume_table(results.fronts)),
        (BUDGETS, budget_table(results.budget_choices)),
        (SHIFT, shift_table(shift_rows(arms, results.facts.teacher))),
        (VARIANCE, variance_table(results.facts.finals, arms)),
        (COSTS, cost_table(results.facts, results.runs)),
        (COMPLEXITY, complexity_table(arms)),
        (SEARCH, search_table(results.searches)),
    )
    for name, frame in tables:
        if len(frame):
            contents[folder / name] = _csv(spreadsheet_safe(frame))
        else:
            (folder / name).unlink(missing_ok=True)
    contents[folder / "report.html"] = _utf8(page(text, results.facts.name, table, drawings))
    contents[markdown] = _utf8(text)  # last, because it names the others
    for path, content in contents.items():
        write_atomically(path, content)
    for name in FIGURE_NAMES:
        if name not in report_figures:
            for form in ("png", "svg"):
                _figure_path(folder, name, form).unlink(missing_ok=True)
    return Report(markdown, (markdown, *(path for path in contents if path != markdown)))


def live_page(results: StudyResults, importances: Mapping[str, Mapping[str, float]], state: str) -> str:
    """The page of a running study: that of `write_report`, without links to MLflow, which renews itself.

    Args:
        results: The study's results.
        importances: As in `write_report`.
        state: The study's state and progress in one line.
    """
    drawings = {name: svg(figure) for name, figure in _draw(results, importances).items() if figure}
    text = report_text(results, drawings, links=lambda run: "")
    return page(text, results.facts.name, results.comparison, drawings, state)


def waiting_page(name: str, why: str) -> str:
    """The page of a study that has nothing to show yet, which renews itself."""
    text = render("waiting.md.j2", name=name, why=why)
    return page(text, name, pd.DataFrame(), {}, "waiting")


def report_text(results: StudyResults, figure_names: Collection[str], *, links: Callable[[str], str]) -> str:
    """The report's Markdown with the named figures."""
    study, runs = results.facts, results.runs
    table, arms = results.comparison, results.arms
    command, targets = study.provenance.get("command"), study.provenance.get(TARGETS)
    return render(
        "report.md.j2",
        study=study,
        answer=answer(study.teacher, arms),
        weak_teacher=teacher_warnings(study.teacher, runs, study.validation_samples),
        home=best_model_section(study, arms),
        comparison=comparison_section(study, arms, table),
        beyond_accuracy=beyond_accuracy_section(table),
        shift=shift_section(shift_rows(arms, study.teacher)),
        fronts=front_section(results),
        latency=latency_section(study.latency, table),
        costs=cost_section(study, cost_table(study, runs)),
        complexity=complexity_section(complexity_table(arms)),
        effort=effort_section(arms, table, links),
        notes=hidden_note(study)
        + published_note(table)
        + pairs_note(arms)
        + equal_compute_notes(study, arms)
        + class_notes(study, class_table(study, arms))
        + notes(arms)
        + search_notes(study, arms),
        coverage=coverage_lines(study.finals),
        variance=variance_section(variance_table(study.finals, arms)),
        growth=growth_section(study),
        search=search_section(results.searches),
        importance_note=importance_note(results.searches),
        figures=set(figure_names),
        searched_sizes=any(arm.objectives > 1 for arm in study.arms),
        budget=budget_section(study),
        targets=escape(targets) if targets else None,
        warm_start=warm_start_section(study),
        tuned=tuned_section(arms),
        diagnostics=diagnostics_section(arms, results.curves),
        warnings=warnings_section(study, runs),
        provenance=provenance_section(study),
        command=block(command) if command else None,
    )


def _draw(results: StudyResults, importances: Mapping[str, Mapping[str, float]]) -> dict[str, Figure | None]:
    return {
        "differences": figures.difference_to_back_prop(results),
        "accuracy_over_macs": figures.accuracy_over_cost(results, "macs"),
        "accuracy_over_parameters": figures.accuracy_over_cost(results, "parameters"),
        "accuracy_over_training": figures.accuracy_over_training(results),
        "pareto_fronts": figures.pareto_fronts(results),
        "learning_curves": figures.learning_curves(results),
        "search_history": figures.search_history(results),
        "search_progress": figures.search_progress(results),
        "importance": figures.importance_figure(results.facts, importances),
        "slices": figures.slices(results),
        "contours": figures.contours(results, importances),
        "parallel_coordinates": figures.parallel_coordinates(results),
        "timeline": figures.timeline(results),
    }


def _figure_path(folder: Path, name: str, form: str = "png") -> Path:
    return folder / "figures" / f"{name}.{form}"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # no version: equal data, equal bytes
    return buffer.getvalue()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.10g").encode("utf-8")
