"""The figure of the winners' paired differences to back-prop."""

from matplotlib.figure import Figure

from lpstudy.figures.hover import add_words
from lpstudy.figures.style import INK, NORMAL, QUIET, SMALL, look, name_axes, new_figure, plain, signed
from lpstudy.tables.study_results import StudyResults
from lpstudy.tables.verdicts import verdicts


def difference_to_back_prop(results: StudyResults) -> Figure | None:
    """Difference to `bp` of the same student and size in points: each seed, mean and 95 % interval.

    None if no arm shares a finished seed with such a `bp`.
    """
    rows = [
        (verdict.result.arm, verdict.seed_differences, verdict)
        for verdict in verdicts(results.arms)
        if verdict.delta.n
    ]
    if not rows:
        return None
    students = list(dict.fromkeys(arm.student for arm, _, _ in rows))
    line_count = len(rows) + len(students)
    figure, [[axes]] = new_figure(
        1.35 + 0.3 * line_count,
        "What each method adds to plain back-prop on the test set",
        "Each dot is one seed, paired with back-prop's run of the same seed; "
        "symbol and bar are the mean and its 95 % interval.",
    )
    height = 0.0
    for student in students:
        axes.text(
            0, height, plain(student), transform=axes.get_yaxis_transform(), fontsize=NORMAL, color=INK,
            va="center", ha="left", fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
        height += 1
        for arm, differences, verdict in (row for row in rows if row[0].student == student):
            style, delta = look(arm.method), verdict.delta
            dots = axes.scatter(
                differences,
                [height + 0.27] * len(differences),
                s=13,
                color=style.colour,
                alpha=0.5,
                linewidths=0,
            )
            add_words(dots, [f"{arm.method}, one seed: {signed(value)} points" for value in differences])
            if delta.n > 1:
                axes.plot([delta.low, delta.high], [height, height], color=style.colour, linewidth=2.2)
            axes.plot(
                delta.mean,
                height,
                style.marker,
                color=style.colour,
                markersize=style.size,
                markeredgecolor="white",
            )
            text = signed(delta.mean) + (f" ± {delta.half_width:.2f}" if delta.n > 1 else " (1 seed)")
            axes.annotate(
                text, (1, height), xycoords=("axes fraction", "data"), xytext=(8, 0),
                textcoords="offset points", fontsize=SMALL, va="center", annotation_clip=False,
                color=INK if verdict.is_beyond_noise else QUIET,
                fontweight="bold" if verdict.is_beyond_noise else "normal",
            )  # fmt: skip
            axes.annotate(
                plain(arm.method), (0, height), xycoords=("axes fraction", "data"), xytext=(-8, 0),
                textcoords="offset points", fontsize=NORMAL, va="center", ha="right",
                color=style.colour, fontweight="bold", annotation_clip=False,
            )  # fmt: skip
            height += 1
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_ylim(height - 0.4, -0.6)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    name_axes(axes, x="test accuracy less back-prop's (percentage points); bold: beyond noise by Holm's test")
    return figure
