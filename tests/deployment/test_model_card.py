"""The model card says what was measured, in the hub's form, and foreign names are only text in it."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml
from deployments import Deployed
from markdown_it import MarkdownIt

from lpstudy.command.stored_study import stored_study
from lpstudy.data import DataSpec, load
from lpstudy.deployment.config import read_config
from lpstudy.deployment.latency import LatencyTable, Machine
from lpstudy.deployment.package import Package
from lpstudy.folder import LocalFolder
from lpstudy.latency_row import LatencyRow
from lpstudy.rendering.model_card import CardFacts, model_card
from lpstudy.tables.arms import arm_results
from lpstudy.tables.choice import choose_arm, choose_final

HOSTILE = (
    "<script>alert(1)</script>", "a | b\n\n# two", "---\nlicense: evil", "`x` ``", "[t](http://evil.example)",
    "![i](http://evil.example/x.png)", "$x$ {{ 7 * 7 }} {% raw %}", '"], "tags": ["x', "- item",
    "\x1b[31mred",
)  # fmt: skip
TAGS = {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "pre", "ul", "li"}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\xa0", " ")


def split(card: str) -> tuple[dict, Tags]:
    """The card's YAML head, and its text as a Markdown reader shows it."""
    _, head, text = card.split("---\n", 2)
    parser = Tags()
    parser.feed(MarkdownIt("gfm-like", {"linkify": False}).render(text))
    return yaml.safe_load(head), parser


@pytest.fixture(scope="module")
def facts(deployed: Deployed) -> CardFacts:
    study = stored_study(LocalFolder(deployed.study / "studies"), None, "smoke")
    data = study.facts_on(load(DataSpec(kind="digits", labels_per_class=10, pad=1)))
    results = arm_results(data, study.results.runs)
    result = choose_arm(results, method="kd")
    row = LatencyRow("model.onnx", "onnxruntime", "cpu-1", 1, 1, 1.25, 2.5, 30)
    latency = LatencyTable(Machine("a CPU", 2, None, "Linux", {"torch": "2"}), (row,), ("cuda: no GPU",))
    package = Package(read_config(deployed.folder).lpstudy, latency)
    return CardFacts(data, study.results.runs, results, result, choose_final(result), package, "lpstudy")


def test_has_the_figures_of_the_study_and_of_the_files(deployed: Deployed, facts: CardFacts) -> None:
    head, card = split((deployed.folder / "README.md").read_text())
    deployment = facts.package.deployment
    assert card.seen <= TAGS
    (entry,) = head["model-index"]
    (result,) = entry["results"]
    assert result["metrics"][0]["value"] == pytest.approx(deployment.test_accuracy / 100, abs=1e-6)
    assert result["dataset"] == {"name": "digits", "type": "digits", "split": "test"}
    assert {"image-classification", "onnx"} <= set(head["tags"])
    for check in deployment.files.values():
        assert f"{check.same_top1} of 599" in card.text
        assert f"{check.test_accuracy:.2f}" in card.text
    assert "1 seed, 599 images" in card.text
    assert deployment.origin.seed_rule in card.text
    assert "The test set chose neither" in card.text
    assert f"{int(facts.final['parameters']):,}" in card.text
    assert f"{int(facts.final['macs']):,}" in card.text
    timed = json.loads((deployed.folder / "latency.json").read_text())
    assert f"{timed['rows'][0]['median_ms']:.3g}" in card.text
    assert timed["machine"]["cpu"] in card.text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_is_text(facts: CardFacts, text: str) -> None:
    deployment = facts.package.deployment
    model = deployment.model.model_copy(update={"class_names": (text, *map(str, range(9)))})
    problems = {"model.pt2": text}
    package = replace(
        facts.package, deployment=deployment.model_copy(update={"model": model, "problems": problems})
    )
    study = replace(facts.study, data=text, provenance={"machine": text, "data remarks": text})
    plain_head, plain = split(model_card(facts))
    head, card = split(model_card(replace(facts, study=study, package=package)))
    assert head.keys() == plain_head.keys()
    assert head["tags"] == plain_head["tags"]
    assert card.seen <= TAGS
    assert card.seen >= plain.seen
    assert "\x1b" not in card.text
    words = [word for word in ("script", "two", "license", "evil", "item", "red") if word in text]
    assert all(word in card.text for word in words)


def test_what_could_not_be_written_is_told(facts: CardFacts) -> None:
    deployment = facts.package.deployment.model_copy(
        update={"problems": {"model.int8.onnx": "it has no convolution"}}
    )
    card = split(model_card(replace(facts, package=replace(facts.package, deployment=deployment))))[1]
    assert "Not written: model.int8.onnx (it has no convolution)." in card.text
    assert "Not written" not in split(model_card(facts))[1].text
