"""Networks, methods and data by `module:name`: only with their flag, shown without it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from imports import no_imported_code
from test_imported_code import METHOD, spec_table, write

from lpstudy.data import load
from lpstudy.imported_names import MODULES
from lpstudy.ledger import dump
from lpstudy.methods import METHODS
from lpstudy.space import import_files, parse, parse_stored
from lpstudy.space import imported_code as module
from lpstudy.space.json_schema import study_schema
from lpstudy.students import StudentSpec, build, check_code, code_of, skeleton

OWN = """
import torch
from torch import nn

def small(input_shape, classes, width=4, depth=1):
    layers = [nn.Conv2d(input_shape[0], width, 3, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(width, width, 1) for _ in range(depth - 1)]
    body = nn.Sequential(*layers)
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

class Fixed(nn.Sequential):
    def __init__(self, input_shape, classes):
        super().__init__(nn.Flatten(), nn.Linear(64, classes))

class Broken(Fixed):
    def forward(self, images):
        return super().forward(images) @ torch.zeros(3, 3)

def failing(input_shape, classes):
    return {}["layers"]

def reading_values(input_shape, classes):
    scale = float(torch.tensor([2.0]).sum().item())
    return nn.Sequential(nn.Flatten(), nn.Linear(64, int(scale)), nn.Linear(int(scale), classes))

def nothing(input_shape, classes):
    return None

def sized(input_shape, classes, width):
    return Fixed(input_shape, classes)

instance = nn.Linear(2, 2)
number = 3

def digits(root):
    import numpy as np
    from lpstudy.data import arrays_with_test_part
    images = np.arange(40 * 64, dtype=np.uint8).reshape(40, 1, 8, 8)
    return arrays_with_test_part(images, np.arange(40) % 2, ("even", "odd"))

def no_digits(root):
    return digits(root / "x").nothing
"""
SHAPE: dict[str, Any] = {"input_shape": (1, 8, 8), "classes": 10}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with no_imported_code():
        yield


def own(folder: Path, text: str = OWN + METHOD) -> module.ImportedCode:
    (code,) = import_files([write(folder, text, "own.py")])
    return code


def student(name: str = "small", **keys: object) -> dict[str, Any]:
    return {"family": "module", "design": f"own:{name}", **keys}


def forget() -> None:
    """Turn this process into one that has not run the code."""
    METHODS.pop("plain", None)
    MODULES.clear()
    module._LOADED.clear()


def test_a_function_makes_the_network_with_depth_and_width(tmp_path: Path) -> None:
    code = own(tmp_path)
    spec = StudentSpec.model_validate(student(width=6, depth=3, layers=["0.0", "0"]))
    network = build(spec, **SHAPE, seed=1)
    assert network.map_names == ("0.0", "0")
    assert network(torch.zeros(2, 1, 8, 8), ("0",)).maps["0"].shape == (2, 6, 8, 8)
    assert network.pooled == skeleton(spec, **SHAPE).pooled == "0"
    again = build(spec, **SHAPE, seed=1).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())
    assert code_of("module", "own:small") == code.sha256
    assert (spec.label(), StudentSpec.model_validate(student("Fixed")).label()) == (
        "own-small-d3-w6",
        "own-fixed",
    )


def test_other_networks_are_stored_as_before_there_were_layers(tmp_path: Path) -> None:
    own(tmp_path)
    spec = parse(spec_table(), "study")
    assert "layers" not in json.dumps(dump(spec))
    run = spec.arms()[0].resolve({}, epochs=1, seed=0)
    assert "layers" not in run.model_dump_json()
    assert "layers" not in spec.teacher.model_dump_json()
    with_layers = StudentSpec.model_validate(student(layers=["0"]))
    assert StudentSpec.model_validate_json(with_layers.model_dump_json()) == with_layers
    with pytest.raises(ValueError, match="layers: is for family module, not for convnet"):
        StudentSpec(family="convnet", depth=1, width=1, layers=("conv1",))


def test_code_that_reads_values_is_made_without_weights_too(tmp_path: Path) -> None:
    own(tmp_path)
    network = skeleton(StudentSpec.model_validate(student("reading_values")), **SHAPE)
    assert all(value.is_meta for value in network.state_dict().values())


def test_a_method_by_reference_is_the_method_by_name(tmp_path: Path) -> None:
    own(tmp_path)
    by_reference = parse(spec_table(methods={"mine": {"method": "own:Plain", "steps": 4}}), "study")
    assert by_reference == parse(spec_table(methods={"mine": {"method": "plain", "steps": 4}}), "study")
    assert parse(spec_table(methods={"plain": {"method": "own:Plain"}}), "study").methods == {"plain": {}}
    names = [
        table["properties"]["method"]
        for table in study_schema()["properties"]["methods"]["additionalProperties"]["anyOf"]
    ]
    assert names[-1] == {"enum": ["plain", "own:Plain"]}


def test_a_package_has_names_in_its_files(tmp_path: Path) -> None:
    write(tmp_path, OWN, "pack/inner.py")
    path = write(tmp_path, "from .inner import small as tiny\n", "pack/__init__.py")
    import_files([path.parent])
    for design, label in (("pack:tiny", "pack-tiny"), ("pack.inner:small", "pack-inner-small")):
        spec = StudentSpec.model_validate({"family": "module", "design": design})
        assert spec.label() == label
        assert build(spec, **SHAPE).map_names == ("0", "1")
    with pytest.raises(ValueError, match=r"pack\.outer:small: pack has no module pack\.outer"):
        StudentSpec.model_validate({"family": "module", "design": "pack.outer:small"})


def test_data_by_reference_are_loaded(tmp_path: Path) -> None:
    code = own(tmp_path)
    table = spec_table(data={"kind": "own:digits"}, imported=[code.load().model_dump()])
    data = load(parse(table, "study").data, root=tmp_path)
    assert (data.name, data.class_names, len(data.test)) == ("own:digits", ("even", "odd"), 14)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teacher": student()}, "teacher: own:small needs the flag --import own.py, or .* folder own"),
        (
            {"students": [student(width={"low": 2, "high": 4})]},
            "students.0: own:small needs the flag --import",
        ),
        ({"data": {"kind": "own:digits"}}, "data.kind: own:digits needs the flag --import own.py"),
        ({"methods": {"x": {"method": "own:Plain"}}}, "methods: x.method: own:Plain needs the flag --import"),
    ],
)
def test_a_study_file_without_the_flag_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=rf"\Astudy: {words}"):
        parse(spec_table(**changes), "study")


def test_a_stored_study_is_shown_without_its_code(tmp_path: Path) -> None:
    code = own(tmp_path)
    sizes = {"width": {"choices": [2, 4]}, "layers": ["0"]}
    table = spec_table(
        data={"kind": "own:digits"},
        teacher=student(),
        students=[student(**sizes), student("Fixed")],
        methods={"mine": {"method": "own:Plain"}},
        imported=[code.load().model_dump()],
    )
    with_code = parse(table, "study")
    stored = json.loads(json.dumps(dump(with_code)))
    forget()
    read = parse_stored(stored, "ledger")
    assert [arm.name for arm in read.arms()] == ["mine-own-small", "mine-own-fixed"]
    assert [arm.fixed for arm in read.arms()] == [arm.fixed for arm in with_code.arms()]
    assert read.students[0].layers == ("0",)
    assert code_of("module", "own:small") == code.sha256
    words = r"the code of own:{} is not imported: give --import own\.py"
    with pytest.raises(ValueError, match=words.format("digits")):
        load(read.data, root=tmp_path)
    with pytest.raises(ValueError, match=words.format("small")):
        skeleton(read.teacher.network, **SHAPE)
    with pytest.raises(ValueError, match=words.format("small")):
        check_code("module", "own:small")
    module.load_all((code,))
    skeleton(read.teacher.network, **SHAPE)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            {"family": "module"},
            r'family module needs design = "module:name", a function of a file of --import \[',
        ),
        ({"family": "module", "design": "small"}, r"a file of --import but got 'small'"),
        (student("smal"), "own:smal: own has no smal; it has small"),
        (student("number"), r"own:number is int: must be a function \(input_shape, classes\) -> nn\.Module"),
        (student("instance"), "own:instance is Linear: must be a function"),
        (student("Fixed", width=3), r"width: own:Fixed\(input_shape, classes\) takes no width"),
        (student("sized"), r"own:sized\(.*\): called with \(input_shape, classes\), missing .*'width'"),
        (student(layers=[]), "Tuple should have at least 1 item"),
    ],
)
def test_what_is_no_function_of_these_sizes_is_refused(
    tmp_path: Path, network: dict[str, Any], words: str
) -> None:
    own(tmp_path)
    with pytest.raises(ValueError, match=words):
        StudentSpec.model_validate(network)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("failing", r"\Aown:failing failed: own\.py:\d+: KeyError: 'layers'\Z"),
        ("nothing", r"\Aown:nothing failed: must return an nn\.Module but returned NoneType\Z"),
        ("Broken", r"\Aown:Broken: Broken cannot take images of 1x8x8.*: RuntimeError at own\.py:17: "),
    ],
)
def test_a_failing_network_says_file_and_line(tmp_path: Path, name: str, words: str) -> None:
    own(tmp_path)
    spec = StudentSpec.model_validate(student(name))
    for make in (build, skeleton):
        with pytest.raises(ValueError, match=words) as caught:
            make(spec, **SHAPE)
        assert "\n" not in str(caught.value)


def test_failing_data_say_file_and_line(tmp_path: Path) -> None:
    own(tmp_path)
    spec = parse(spec_table(data={"kind": "own:no_digits"}), "study").data
    words = r"\Athe loader of 'own:no_digits' failed: own\.py:\d+: AttributeError: .*nothing'"
    with pytest.raises(ValueError, match=words):
        load(spec, root=tmp_path)


def test_what_is_no_method_is_refused(tmp_path: Path) -> None:
    own(tmp_path)
    for name, words in (
        ("small", "own:small is no method: must be a subclass of lpstudy.methods.Distillation"),
        ("Distillation", "own:Distillation cannot be used: it is abstract"),
        ("Plane", "own:Plane: own has no Plane; it has Plain"),
    ):
        with pytest.raises(ValueError, match=rf"\Astudy: methods: x\.method: {words}"):
            parse(spec_table(methods={"x": {"method": f"own:{name}"}}), "study")
