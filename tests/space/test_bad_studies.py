"""A bad section, key or value is refused in one line: file, key, problem and allowed values."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lpstudy.space import StudySpec, read_study_file

TEMPERATURE = "temperature = { low = 1, high = 6 }"
CONVNET = 'family = "convnet"\ndepth = 2\nwidth = 8'
RATE = "learning_rate = { low = 2e-3, high = 2e-2, log = true }"
KEYS = (
    "batch_size, optimizer, nesterov, learning_rate, warmup_epochs, weight_decay, schedule, milestones,"
    " label_smoothing, ema, precision, checkpoint_seconds"
)

BAD: dict[str, tuple[str, str, list[str]]] = {
    # What is wrong: text of a good study, what stands in its place, parts of the line.
    "unclosed table": ("[data]", "[data", ["not valid TOML", "line 3"]),
    "table given twice": ("[training]", "[data]", ["not valid TOML", "twice"]),
    "number without end": ("pad = 1", f"pad = {'9' * 5000}", ["not valid TOML"]),
    "brackets without end": ("pad = 1", f"pad = {'[' * 5000}", ["not valid TOML"]),
    "unknown section": (
        "[training]",
        "[trainin]",
        [
            "trainin: unknown key",
            "allowed are name, data, teacher, students, methods, training, budget, search, constraints",
        ],
    ),
    "unknown key of the data": (
        "pad = 1",
        "padding = 1",
        ["data.padding: unknown key", "kind, root, validation_fraction"],
    ),
    "mixed images and a bank": (
        "pad = 1",
        "pad = 1\nmixup = 0.5",
        ["data.mixup: needs [teacher] online = true, for a bank has no outputs of mixed images"],
    ),
    "boxes of other images and a bank": (
        "pad = 1",
        "pad = 1\ncutmix = 1.0",
        ["data.cutmix: needs [teacher] onl"],
    ),
    "a crop's range without the crop": (
        "pad = 1",
        "scale = [0.5, 1.0]",
        ["data: scale: has no effect without crop = 'resized'"],
    ),
    "unknown corruption": (
        "[training]",
        '[shift]\ncorruptions = ["fog"]\n[training]',
        ["shift.corruptions.0", "'noise', 'blur', 'brightness', 'contrast', 'pixelate' or 'jpeg'"],
    ),
    "corruption given twice": (
        "[training]",
        '[shift]\ncorruptions = ["noise", "noise"]\n[training]',
        ["shift", "corruptions: names one twice: noise, noise"],
    ),
    "unknown severity": (
        "[training]",
        '[shift]\ncorruptions = ["noise"]\nseverities = [6]\n[training]',
        ["shift.severities.0", "less than or equal to 5"],
    ),
    "unknown key of the teacher": (
        "width = 32",
        "width = 32\nepoch = 3",
        [
            "teacher.epoch: unknown key",
            f"allowed are {KEYS}",
            "labels_per_class, epochs, seed",
        ],
    ),
    "unknown key of a student": (
        CONVNET,
        f"{CONVNET}\nlayer = 3",
        ["students.0.layer: unknown key", "allowed are family, design, depth, width"],
    ),
    "unknown key of a method": (
        TEMPERATURE,
        "temprature = 3",
        ["kd.temprature: unknown key", "allowed are ce_weight, term_warmup_epochs, weight, temperature"],
    ),
    "unknown key of the training": (
        RATE,
        "optimiser = 'adam'",
        ["optimiser: unknown key", f"allowed are {KEYS}"],
    ),
    "unknown key of the budget": (
        "trials = 8",
        "trial = 8",
        ["budget.trial: unknown key", "allowed are trials, epochs, seeds, hours, "],
    ),
    "unknown key of the constraints": (
        "max_macs",
        "max_mac",
        ["constraints.max_mac: unknown key", "allowed are max_macs, max_parameters"],
    ),
    "unknown key of a range": (TEMPERATURE, "temperature = { low = 1, hihg = 6 }", ["kd.temperature: high"]),
    "unknown data set": (
        '"digits"',
        '"digit"',
        ["data.kind", "'digits', 'mnist', 'cifar10'", "got 'digit'"],
    ),
    "unknown family": (
        'family = "wrn"',
        'family = "wrm"',
        ["students.1.family", "'convnet', 'wrn'", "'wrm'"],
    ),
    "unknown family of the teacher": (
        'family = "convnet"\ndepth = 4',
        'family = "net"\ndepth = 4',
        ["teacher.family", "'convnet', 'wrn'", "'net'"],
    ),
    "unknown design": (
        CONVNET,
        'family = "maxout"\ndesign = "fitnet5"',
        ["students.0", "'fitnet5'", "fitnet1, fitnet2, fitnet3, fitnet4"],
    ),
    "unknown method": (
        "[methods.kd]",
        "[methods.mystery]",
        ["methods: mystery: unknown method", "bp, kd, ", "needs method = "],
    ),
    "no data": ('[data]\nkind = "digits"\npad = 1', "", ["data: is missing"]),
    "no kind of data": ('kind = "digits"', "", ["data.kind: is missing"]),
    "no width": ("depth = 2\nwidth = 8", "depth = 2", ["students.0", "convnet needs both depth and width"]),
    "unknown optimiser": (RATE, "optimizer = 'lion'", ["optimizer", "'adam', 'sgd' or 'rmsprop'", "'lion'"]),
    "student given twice": (
        CONVNET,
        f"{CONVNET}\n\n[[students]]\n{CONVNET}",
        ["students: convnet-d2-w8 is given twice"],
    ),
    "one table of students": (
        '[[students]]\nfamily = "convnet"\ndepth = 2\nwidth = 8\n\n[[students]]',
        "[students]",
        ["students: must be a list of tables, each headed [[students]]"],
    ),
    "table where a number belongs": (
        "width = 32",
        "width = 32\nlearning_rate = { low = 1e-3, high = 1e-2 }",
        ["teacher.learning_rate", "got a table"],
    ),
    "number where a table belongs": (
        "[methods.bp]",
        "[methods]\nbp = 3",
        ["methods: bp: must be a table", "got 3"],
    ),
    "a method's name for another": ("gamma = 0.02", 'method = "kd"', ["lp.method", "another one"]),
    "a table of its own name without a method": (
        "[methods.kd]",
        "[methods.lp_kd]",
        ["lp_kd: unknown method"],
    ),
    "a table of its own name with an unknown method": (
        "[methods.kd]",
        '[methods.mine]\nmethod = "mystery"',
        ["mine.method: unknown method 'mystery'", "bp, kd, "],
    ),
    "a table whose name is no name": (
        "[methods.kd]",
        '[methods."../mine"]\nmethod = "kd"',
        ["'../mine': must be a letter"],
    ),
    "a temperature of no soft targets": (
        "gamma = 0.02",
        "kd_temperature = 2.0",
        ["no effect without kd_weight"],
    ),
    "no trials": ("trials = 8", "trials = 0", ["budget.trials", "greater than or equal to 1", "got 0"]),
    "no epochs": ("epochs = 30", "epochs = 0", ["budget.epochs", "greater than or equal to 1", "got 0"]),
    "no hours": ("trials = 8", "hours = 0", ["budget.hours", "greater than 0", "got 0"]),
    "milestones that fall": (
        RATE,
        "schedule = 'step'\nmilestones = [0.5, 0.25]",
        ["training", "milestones: must rise but got [0.5, 0.25]"],
    ),
    "shares and epochs as milestones": (
        RATE,
        "schedule = 'step'\nmilestones = [0.5, 10]",
        ["milestones: must all be shares below 1, or all epochs from 1 on"],
    ),
    "milestones after the end": (
        RATE,
        "schedule = 'step'\nmilestones = [20, 500]",
        ["training.milestones: must be below the number of epochs", "500"],
    ),
    "a loss without a term": (
        "[methods.bp]",
        "[methods.bp]\nce_weight = 0.0",
        ["methods.bp.ce_weight: must be above 0"],
    ),
    "LP without CE": (
        "gamma = 0.02",
        "gamma = 0.02\nce_weight = 0.0",
        ["methods.lp.ce_weight: must be above 0 without kd_weight"],
    ),
    "unknown sampler": (
        "trials = 8",
        "trials = 8\n[search]\nsampler = 'cmaes'",
        ["search.sampler", "'tpe', 'gp'"],
    ),
    "a published result of no arm": (
        "[methods.bp]",
        "[[published]]\nmethod = 'crd'\nstudent = 'x'\nvalue = 70.0\nsource = 's'\n[methods.bp]",
        ["published.0.method: must be one of bp, kd", "'crd'"],
    ),
    "unknown pruner": (
        "trials = 8",
        "pruner = 'asha'",
        ["budget.pruner", "'median', 'halving', 'hyperband' or 'none'"],
    ),
    "limit of 0": ("1000000", "0", ["constraints.max_macs", "greater than 0", "got 0"]),
    "seed that torch does not take": (
        "width = 32",
        "width = 32\nseed = -1",
        ["teacher.seed", "greater than"],
    ),
    "key that would act on the terminal": ("pad = 1", '"a\\n\\u001bb" = 1', [r"data.a\n\x1bb: unknown key"]),
}


@pytest.mark.parametrize("case", BAD)
def test_is_refused_in_one_line(case: str, changed: Callable[..., StudySpec], study_file: Path) -> None:
    old, new, parts = BAD[case]
    with pytest.raises(ValueError, match=r"mine\.toml: ") as error:
        changed((old, new))
    line = str(error.value)
    assert line.startswith(f"{study_file}: ")
    assert line.isprintable()
    for part in parts:
        assert part in line


@pytest.mark.parametrize("name", ["", "a/b", "..", "../x", "/x", "-x", "a b", "a\nb", "a\x1b", "é", "x" * 65])
def test_a_hostile_name_is_refused_in_one_line(name: str, changed: Callable[..., StudySpec]) -> None:
    written = name.replace("\n", "\\n").replace("\x1b", "\\u001b")
    with pytest.raises(ValueError, match="name: must be 1 to 64 letters, digits, - and _ but got") as error:
        changed(('"mine"', f'"{written}"'))
    assert str(error.value).isprintable()


def test_bytes_that_are_no_text_are_refused(study_file: Path) -> None:
    study_file.write_bytes(b"\xc3\x28")
    with pytest.raises(ValueError, match=r"mine\.toml: not valid TOML: .*0xc3"):
        read_study_file(study_file)


def test_a_file_of_a_megabyte_is_not_read(study_file: Path) -> None:
    study_file.write_text("#" * (2**20 + 1))
    with pytest.raises(ValueError, match=r"mine\.toml: a study file has at most 1048576 bytes"):
        read_study_file(study_file)
