"""The growth of a begun study: which changes of its file are allowed, and what they add, hide and restore."""

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from lpstudy.damage import DamagedError
from lpstudy.ledger.arm_rows import ARMS, WARM_START, WEIGHTS, StoredArms, StoredDefinition, StoredExtension
from lpstudy.ledger.seed_rows import FINALS, StoredFinals
from lpstudy.ledger.study_rows import FORMAT
from lpstudy.space import (
    DEFAULT_CANDIDATES,
    DEFAULT_FRONT,
    Arm,
    StudySpec,
    arm_definitions,
    changed_arms,
    changed_settings,
    parse_stored,
)
from lpstudy.space.imported_code import changed_code
from lpstudy.version import __version__

HINT = "restore the previous one, choose another name, or give --fresh"
"""What a user may do about a change that a begun study cannot take."""


def dump(spec: StudySpec) -> dict[str, Any]:
    """The study as a JSON object that `parse` reads back."""
    table: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True)
    return table


def stored_spec(study: str, table: dict[str, Any]) -> StudySpec:
    """The spec in a ledger's rows.

    Raises:
        DamagedError: The spec is invalid.
    """
    try:
        return parse_stored(table, "the ledger")
    except ValueError as error:
        problem = str(error).removeprefix("the ledger: ")
        raise DamagedError("the ledger", study, "spec", problem) from None


def begun_arms(study: str, facts: Mapping[str, Any]) -> StoredArms | None:
    """The arms of a begun study, of one without such a fact those of its spec; None for a new study.

    Raises:
        DamagedError: The spec is invalid.
    """
    if ARMS in facts:
        return StoredArms.model_validate(facts[ARMS])
    return None if "spec" not in facts else arms_of(stored_spec(study, facts["spec"]))


def arms_of(spec: StudySpec) -> StoredArms:
    """The arms of a study that starts."""
    return StoredArms(shown=[arm.name for arm in spec.arms()], definitions=_definitions(spec))


def _definitions(spec: StudySpec) -> dict[str, StoredDefinition]:
    return {name: StoredDefinition.model_validate(one) for name, one in arm_definitions(spec).items()}


def arms_with_points(spec: StudySpec, facts: Mapping[str, Any]) -> dict[str, Arm]:
    """The arms of a spec, each with its own first points and then those from another study."""
    stored = facts.get(WARM_START, {})
    arms = {arm.name: arm for arm in spec.arms()}
    for name, points in stored.get("points", {}).items():
        if points and name in arms:
            start = (*arms[name].start, *points)
            arms[name] = arms[name].model_copy(update={"start": start, "warm_start": stored["study"]})
    return arms


def check_space(spec: StudySpec, facts: Mapping[str, Any]) -> None:
    """Check that a begun study may go on with this spec: it may grow, and what is there stays as it is.

    Args:
        spec: The study.
        facts: The facts in its ledger; none for a new study.

    Raises:
        ValueError: What all arms share has changed, or an arm; the message names the differences.
        DamagedError: The stored spec is invalid.
    """
    arms = begun_arms(spec.name, facts)
    if arms is None:
        return
    start = f"study {spec.name!r} was started with"
    if code := changed_code(facts["spec"], dump(spec)):
        raise ValueError(f"{start} other imported code ({code}); {HINT}")
    changes = changed_settings(stored_spec(spec.name, facts["spec"]), spec)
    changes += changed_arms(
        {name: one.model_dump() for name, one in arms.definitions.items()}, arm_definitions(spec)
    )
    if changes:
        raise ValueError(f"{start} another space: {'; '.join(changes)}; {HINT}")


def check_content(
    study: str, facts: Mapping[str, Any], content: str, images: str, weights: Mapping[str, str]
) -> None:
    """Check that images and weights files of a begun study are unchanged.

    Args:
        study: The study's name.
        facts: The facts in its ledger; none for a new study.
        content: Hash of the images and of the teacher's weights.
        images: Hash of the images alone.
        weights: SHA-256 of each student's weights file, by the student's label.

    Raises:
        ValueError: They differ; the message says what.
    """
    stored = facts.get(WEIGHTS, {})
    before = {"": facts.get("content", content)} | {
        label: stored[label] for label in weights if label in stored
    }
    is_combined = "content" in facts and WEIGHTS not in facts
    first = _combined(content, weights, facts["spec"]) if is_combined else content
    after = {"": first} | {label: weights[label] for label in before if label}
    for label, old in before.items():
        if old != after[label]:
            is_same = label or facts.get("images", not images) == images
            kind = "weights" if is_same else "images"
            words = (f"{label}: " if label else "") + f"{old[:16]} -> {after[label][:16]}"
            raise ValueError(f"study {study!r} was started with other {kind} ({words}); {HINT}")


def _combined(content: str, weights: Mapping[str, str], table: Mapping[str, Any]) -> str:
    """The one hash of images and all students' weights files in a ledger without the fact of the latter."""
    labels = [one.label for one in parse_stored(dict(table), "the ledger").students if one.weights]
    if not labels:
        return content
    hashes = [content, *(weights.get(label, "") for label in labels)]
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:16]


def grown_arms(facts: Mapping[str, Any], spec: StudySpec, *, runs: int) -> StoredArms:
    """The arms of a study with what its spec adds, hides and restores.

    Args:
        facts: The facts in the ledger; none for a new study.
        spec: The study.
        runs: How many runs have ended, with those of hidden arms.
    """
    earlier_arms = begun_arms(spec.name, facts)
    now = arms_of(spec)
    if earlier_arms is None:
        return now
    grown = earlier_arms.model_copy(
        update={"shown": now.shown, "definitions": earlier_arms.definitions | now.definitions}
    )
    change = extension(facts, spec, runs=runs)
    return grown if change is None else grown.model_copy(update={"growth": [*earlier_arms.growth, change]})


def facts_of_spec(facts: Mapping[str, Any], spec: StudySpec, *, runs: int) -> dict[str, Any]:
    """The facts that a sweep stores of its spec.

    Args:
        facts: The facts in the ledger; none for a new study.
        spec: The study.
        runs: How many runs have ended, with those of hidden arms.
    """
    arms = grown_arms(facts, spec, runs=runs)
    return {
        "format": FORMAT,
        "spec": dump(spec),
        ARMS: arms.model_dump(mode="json", exclude_none=True),
        FINALS: _stored_finals(facts, spec).model_dump(mode="json"),
        "id": facts.get("id", uuid.uuid4().hex),
    }


def _stored_finals(facts: Mapping[str, Any], spec: StudySpec) -> StoredFinals:
    """How trials become finals, as decided when the study started."""
    if "id" in facts:
        stored = StoredFinals.model_validate(facts.get(FINALS, {}))
        return stored.model_copy(update={"front": spec.finals.front or stored.front})
    finals = spec.finals
    return StoredFinals(
        candidates=finals.candidates or DEFAULT_CANDIDATES, front=finals.front or DEFAULT_FRONT
    )


def _is_growth(pair: list[object]) -> bool:
    """Whether two numbers of a budget differ; a range of seeds cannot change."""
    return all(isinstance(one, int) for one in pair) and pair[0] != pair[1]


def extension(facts: Mapping[str, Any], spec: StudySpec, *, runs: int) -> StoredExtension | None:
    """What a spec adds to a study, hides and restores; None for a new study, and where nothing changes."""
    earlier_arms = begun_arms(spec.name, facts)
    if earlier_arms is None:
        return None
    now = [arm.name for arm in spec.arms()]
    new = [name for name in now if name not in earlier_arms.shown]
    budgets = {key: [facts["spec"]["budget"][key], getattr(spec.budget, key)] for key in ("trials", "seeds")}
    budgets["front"] = [
        StoredFinals.model_validate(facts.get(FINALS, {})).front,
        _stored_finals(facts, spec).front,
    ]
    change = StoredExtension(
        time=time.time(),
        version=__version__,
        runs=runs,
        added=[name for name in new if name not in earlier_arms.definitions],
        restored=[name for name in new if name in earlier_arms.definitions],
        hidden=[name for name in earlier_arms.shown if name not in now],
        **{key: pair for key, pair in budgets.items() if _is_growth(pair)},
    )
    is_change = new or change.hidden or change.trials or change.seeds or change.front
    return change if is_change else None
