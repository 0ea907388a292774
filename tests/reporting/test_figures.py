import itertools
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.optimize import minimize

from lpstudy import figures, methods
from lpstudy.figures.labels import spread
from lpstudy.figures.style import count_words, look, plain, signed
from lpstudy.tables.arms import arm_results
from lpstudy.tables.verdicts import verdicts

METHODS = ("bp", "kd", "fitnet", "lp", "lp_kd")
KINDS = (
    "macs", "parameters", "differences", "pareto", "curves", "history", "importance", "progress", "slices",
    "contours", "parallel", "timeline",
)  # fmt: skip


def draw(kind: str, frames) -> Figure | None:
    match kind:
        case "macs" | "parameters":
            return figures.accuracy_over_cost(frames.results, kind)
        case "differences":
            return figures.difference_to_back_prop(frames.results)
        case "pareto":
            return figures.pareto_fronts(frames.results)
        case "curves":
            return figures.learning_curves(frames.results)
        case "history":
            return figures.search_history(frames.results)
        case "progress":
            return figures.search_progress(frames.results)
        case "slices":
            return figures.slices(frames.results)
        case "contours":
            return figures.contours(frames.results, frames.importances)
        case "parallel":
            return figures.parallel_coordinates(frames.results)
        case "timeline":
            return figures.timeline(frames.results)
    return figures.importance_figure(frames.study, frames.importances)


def texts(figure: Figure) -> list[Text]:
    """The visible texts; matplotlib has labels of ticks beyond the limits, which it does not draw."""
    beyond = set()
    for axes in figure.axes:
        for axis, coordinate in ((axes.xaxis, 0), (axes.yaxis, 1)):
            low, high = sorted(axis.get_view_interval())
            labels = axis.get_ticklabels()
            beyond |= {
                id(label)
                for label in labels
                if not axes.get_visible() or not low <= label.get_position()[coordinate] <= high
            }
    figure_texts = figure.findobj(Text)
    return [
        text
        for text in figure_texts
        if text.get_visible() and text.get_text().strip() and id(text) not in beyond
    ]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of visible texts whose boxes overlap by more than a pixel."""
    figure.canvas.draw()
    seen = [
        (text.get_text(), text.get_window_extent())
        for text in texts(figure)
        if text.axes is None or text.axes.get_visible()
    ]
    seen = [(words, box) for words, box in seen if figure.bbox.overlaps(box)]
    return [
        (first, second)
        for (first, one), (second, two) in itertools.combinations(seen, 2)
        if min(one.x1, two.x1) - max(one.x0, two.x0) > 1 and min(one.y1, two.y1) - max(one.y0, two.y0) > 2
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_no_texts_overlap_and_all_stay_within_the_figure(kind, frames, searched_frames):
    frames_of_kind = searched_frames if kind == "pareto" else frames
    figure = draw(kind, frames_of_kind)
    assert figure is not None
    assert overlaps(figure) == []
    for text in texts(figure):
        box = text.get_window_extent()
        assert box.x0 >= -1, text.get_text()
        assert box.x1 <= figure.bbox.x1 + 1, text.get_text()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{"seeds": 1}, {"trials": 0}, {"methods": ("kd", "lp")}, {"trials": 1}])
def test_sparse_studies_are_drawn_or_left_out(kind, changes, make_frames):
    figure = draw(kind, make_frames(students=("convnet-d4-w8",), **changes))
    if figure is not None:
        assert overlaps(figure) == []
    if "trials" in changes and changes["trials"] == 0:
        assert figure is None or kind == "importance"


def test_missing_numbers_leave_gaps_and_raise_nothing(make_frames):
    frames = make_frames(students=("convnet-d4-w8",))
    frames.runs.loc[frames.runs.index[::3], ["validation_accuracy", "test_accuracy"]] = np.nan
    frames.runs.loc[frames.runs.index[::4], ["macs", "parameters"]] = None
    frames.curves.loc[frames.curves.index[::2], "value"] = np.nan
    frames.importances["lp-convnet-d4-w8"]["gamma"] = float("nan")
    figures_drawn = [figure for kind in KINDS if (figure := draw(kind, frames)) is not None]
    assert figures_drawn
    for figure in figures_drawn:
        assert overlaps(figure) == []  # which draws it


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_are_drawn_as_they_are(kind, make_frames):
    name = "$x^{$ $\\frac{1}{0}$ a\nb\tc \\undefined $$"
    frames = make_frames(methods=("bp", "kd"), seeds=2, trials=6)
    frames.runs["student"] = name + frames.runs["student"]
    arms = tuple(
        replace(arm, method="bp" if arm.method == "bp" else name, student=f"{name}{arm.student}")
        for arm in frames.study.arms
    )
    figure = draw(kind, replace(frames, study=replace(frames.study, arms=arms)))
    if kind == "pareto":
        assert figure is None
    elif kind == "timeline":  # which names runs where one points alone
        figure.canvas.draw()
    else:
        figure.canvas.draw()
        assert any(r"\$x^{\$ \$\frac" in text.get_text() for text in texts(figure))


def test_mean_of_the_finals_stands_at_its_macs(frames):
    figure = draw("macs", frames)
    runs = frames.runs
    mine = runs[runs["arm"].eq("kd-convnet-d4-w16") & runs["kind"].eq("final")]
    points = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in figure.axes[0].lines
        if len(line.get_xdata()) == 1 and line.get_color() == look("kd").colour
    ]
    assert (4_630_000.0, pytest.approx(mine["test_accuracy"].mean())) in points


def test_each_dot_is_a_seeds_difference_with_its_sign(one):
    runs = one.runs
    final = runs["kind"].eq("final")
    of = {
        method: runs[final & runs["arm"].eq(f"{method}-convnet-d4-w8")].set_index("seed")["test_accuracy"]
        for method in ("bp", "kd", "lp")
    }
    assert (of["kd"] - of["bp"]).mean() > 0.5
    figure = draw("differences", one)
    dots = [sorted(found.get_offsets()[:, 0]) for found in figure.axes[0].collections]
    assert dots == [pytest.approx(sorted(of[method] - of["bp"])) for method in ("kd", "lp")]
    heights = [{y for _, y in found.get_offsets()} for found in figure.axes[0].collections]
    means = [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in figure.axes[0].lines
        if len(line.get_xdata()) == 1
    ]
    for method, (mean, place), height in zip(("kd", "lp"), means, heights, strict=True):
        assert mean == pytest.approx((of[method] - of["bp"]).mean())
        assert height == {place + 0.27}


def test_bold_difference_is_one_beyond_noise(one):
    figure = draw("differences", one)
    weights = {text.get_text(): text.get_fontweight() for text in texts(figure) if "±" in text.get_text()}
    verdict = {
        f"{signed(found.delta.mean)} ± {found.delta.half_width:.2f}": found.is_beyond_noise
        for found in verdicts(arm_results(one.study, one.runs))
        if found.delta.n
    }
    assert {words: weight == "bold" for words, weight in weights.items()} == verdict
    assert set(verdict.values()) == {True, False}


def test_method_has_the_same_colour_in_every_figure(frames):
    for kind in ("macs", "differences", "curves", "history", "importance"):
        named = [text for text in texts(draw(kind, frames)) if text.get_text().split()[0] == "lp_kd"]
        assert named
        assert {text.get_color() for text in named} == {look("lp_kd").colour}


# Machado, Oliveira and Fernandes (2009), severity 1.
SIGHTS = {
    "normal": np.eye(3),
    "deutan": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]
    ],
    "protan": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]
    ],
}  # fmt: skip


def linear(colour: str) -> np.ndarray:
    srgb = np.array(to_rgb(colour))
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def cielab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ rgb / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHTS)
def test_methods_stay_apart_for_the_colour_blind(sight):
    seen = {
        method: cielab(np.clip(np.array(SIGHTS[sight]) @ linear(look(method).colour), 0, 1))
        for method in METHODS
    }
    for first, second in itertools.combinations(METHODS, 2):
        assert np.linalg.norm(seen[first] - seen[second]) > 14, (first, second)


def test_methods_can_be_read_on_white_and_have_a_marker_each():
    for method in METHODS:
        luminance = np.dot([0.2126, 0.7152, 0.0722], linear(look(method).colour))
        assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG 2.2, 1.4.3
    assert len({look(method).marker for method in METHODS}) == len(METHODS)


def test_every_method_has_a_look_of_its_own_that_can_be_read_on_white():
    looks = {name: look(name) for name in {*methods.METHODS, "lp_kd", "kd_standardized"}}
    assert len({(one.colour, one.marker) for one in looks.values()}) == len(looks)
    for one in looks.values():
        luminance = np.dot([0.2126, 0.7152, 0.0722], linear(one.colour))
        assert 1.05 / (luminance + 0.05) >= 4.5


def test_unknown_method_keeps_its_colour():
    assert look("vid") == look("vid")
    assert look("vid").colour not in {look(method).colour for method in METHODS}


def test_spread_is_the_nearest_placement_with_the_gap():
    rng = np.random.default_rng(0)
    for _ in range(20):
        heights = np.sort(rng.uniform(0, 60, 5))
        placed = np.array(spread(heights.tolist(), 10, 0, 100))
        best = minimize(
            lambda x, wanted=heights: ((x - wanted) ** 2).sum(),
            np.linspace(0, 100, 5),
            constraints=[
                {"type": "ineq", "fun": lambda x: np.diff(x) - 10},
                {"type": "ineq", "fun": lambda x: x},
                {"type": "ineq", "fun": lambda x: 100 - x},
            ],
        )
        assert (np.diff(placed) >= 10 - 1e-9).all()
        assert ((placed - heights) ** 2).sum() <= best.fun + 1e-3


def test_spread_shrinks_the_gap_where_there_is_no_room():
    assert spread([5.0, 5.0, 5.0], 100, 0, 10) == [0.0, 5.0, 10.0]


def test_drawing_leaves_matplotlibs_settings_and_figures_alone(frames):
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    draw("macs", frames)
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(249_600, "250 K"), (30_160_000, "30.2 M"), (999_900, "1 M"), (17, "17"), (0, "0"), (6.4e13, "64 T")],
)
def test_counts_read_as_people_say_them(value, text):
    assert count_words(value) == text


def test_signs_are_typographic_and_zero_has_none():
    assert (signed(0.5), signed(-0.5), signed(-0.001)) == ("+0.50", "−0.50", "0.00")


def test_foreign_text_is_cut_and_its_dollars_escaped():
    assert plain("a\n$b$") == r"a \$b\$"
    assert len(plain("x" * 99)) == 32
