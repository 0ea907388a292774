"""The RayJob has the fields of ray.io/v1, and follows rules that the operator does not enforce."""

import json
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cluster_files import MOUNT, Change, below_mount, changed, document, is_pinned, pinned, sweep_words
from jsonschema import Draft7Validator

from lpstudy.sweep import parser

FILE = "kuberay-rayjob.yaml"
SCHEMA = json.loads((Path(__file__).parent / "rayjob.schema.json").read_text())
"""The schema of RayJob, from KubeRay's definition; see SOURCES.md."""
SPOT = {
    "cloud.google.com/gke-spot": "true",
    "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
"""The label with which each cloud marks a spot node."""

JOB = document(FILE)


def faults(job: Any) -> list[str]:
    """The faults of a job by ray.io/v1."""
    return [f"{error.json_path}: {error.message}" for error in Draft7Validator(SCHEMA).iter_errors(job)]


def pods(job: Any) -> dict[str, Any]:
    """The pods of the job, by their role."""
    cluster = job["spec"]["rayClusterSpec"]
    specs = {group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    head = cluster["headGroupSpec"]["template"]["spec"]
    return {"submitter": job["spec"]["submitterPodTemplate"]["spec"], "head": head} | specs


def terms(pod: Any) -> list[list[dict[str, Any]]]:
    """The alternative requirements of a pod for its node."""
    affinity = pod.get("affinity", {}).get("nodeAffinity", {})
    node_terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get(
        "nodeSelectorTerms", []
    )
    return [term["matchExpressions"] for term in node_terms]


def machines(job: Any) -> Iterator[str]:
    """The settings that risk the head, or cost more than spot nodes."""
    specs = pods(job)
    cluster = job["spec"]["rayClusterSpec"]
    if cluster["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield "trials may run on the head"
    shunned = {rule["key"] for term in terms(specs["head"]) for rule in term if rule["operator"] == "NotIn"}
    if len(terms(specs["head"])) != 1 or shunned != set(SPOT):
        yield "the head may be on spot"
    if any(toleration["key"] in SPOT for toleration in specs["head"].get("tolerations", [])):
        yield "the head may be on spot"
    for group in cluster["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        sought = {
            rule["key"]: rule["values"] for term in terms(pod) for rule in term if rule["operator"] == "In"
        }
        if sought != {label: [value] for label, value in SPOT.items()}:
            yield "workers may be on nodes that are not spot"
        if not 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield "none is there when the sweep counts what fits"
        if "nvidia.com/gpu" not in pod["containers"][0]["resources"]["limits"]:
            yield "workers have no GPU"
    if not cluster.get("enableInTreeAutoscaling"):
        yield "the cluster does not grow"


def ends(job: Any) -> Iterator[str]:
    """The settings that would leave GPUs running or a study unfinished."""
    spec = job["spec"]
    if not spec.get("shutdownAfterJobFinishes"):
        yield "the cluster stays when the job has ended"
    if spec.get("backoffLimit", 0) < 1:
        yield "a head that is lost ends the study"
    head = pods(job)["head"]
    variables = {entry["name"]: entry.get("value") for entry in head["containers"][0]["env"]}
    grace = int(variables.get("RAY_JOB_STOP_WAIT_TIME_S") or 3)
    if not 30 < grace < head.get("terminationGracePeriodSeconds", 30):
        yield "a sweep that pauses is killed"


def guarded(job: Any) -> Iterator[str]:
    """The settings that let others run code, or become root."""
    cluster = job["spec"]["rayClusterSpec"]
    if cluster.get("authOptions", {}).get("mode") != "token":
        yield "no token is asked for"
    if cluster["headGroupSpec"].get("serviceType") != "ClusterIP":
        yield "the head can be reached from outside"
    if "hostNetwork" in str(job) or "hostPort" in str(job) or "privileged" in str(job):
        yield "a pod shares its node's ports"
    for part, pod in pods(job).items():
        person = pod.get("securityContext", {})
        if not (person.get("runAsNonRoot") and person.get("runAsUser")):
            yield f"{part}: may be root"
        if part != "head" and pod.get("automountServiceAccountToken") is not False:
            yield f"{part}: holds a key to Kubernetes"
        for container in pod["containers"]:
            security = container.get("securityContext", {})
            drops = security.get("capabilities", {}).get("drop")
            if security.get("allowPrivilegeEscalation") is not False or drops != ["ALL"]:
                yield f"{part}: may become root"
            for entry in container.get("env", []):
                if any(word in entry["name"] for word in ("TOKEN", "PASSWORD", "KEY")) and "value" in entry:
                    yield f"{part}: {entry['name']} is written down"


def storage(job: Any) -> Iterator[str]:
    """Files that would vanish with their pod."""
    for part, pod in pods(job).items():
        if part == "submitter":
            continue
        claims = {v["name"] for v in pod.get("volumes", []) if "persistentVolumeClaim" in v}
        mounts = {m["mountPath"]: m["name"] for m in pod["containers"][0].get("volumeMounts", [])}
        if mounts.get(MOUNT) not in claims:
            yield f"{part}: the shared folder is not mounted"
        variables = {entry["name"]: entry.get("value", "") for entry in pod["containers"][0].get("env", [])}
        for name in ("LPSTUDY_CACHE", "LPSTUDY_DATA", "MLFLOW_TRACKING_URI"):
            if not below_mount(variables.get(name, "").removeprefix("sqlite:///")):
                yield f"{part}: {name} is not in the shared folder"
    words = shlex.split(job["spec"]["entrypoint"])
    resources = dict(pairwise(words))
    if not all(below_mount(resources.get(flag, "")) for flag in ("--storage", "--reports")):
        yield "the sweep does not write to the shared folder"


def versions(job: Any) -> Iterator[str]:
    """Versions that are not pinned."""
    if job["spec"]["rayClusterSpec"].get("rayVersion") != pinned("ray"):
        yield "not the pinned Ray"
    images = {container["image"] for pod in pods(job).values() for container in pod["containers"]}
    if len(images) != 1 or not all(
        is_pinned(image) and image.endswith(f"-ray{pinned('ray')}") for image in images
    ):
        yield "not one image of the pinned Ray"


def complaints(job: Any) -> list[str]:
    """The problems of a RayJob by all rules."""
    return [problem for rule in (machines, ends, guarded, storage, versions) for problem in rule(job)]


def test_its_fields_are_those_of_the_api() -> None:
    assert faults(JOB) == []


def test_keeps_every_rule() -> None:
    assert complaints(JOB) == []


def test_its_sweep_is_one_that_the_sweep_takes() -> None:
    args = parser().parse_args(sweep_words(JOB["spec"]["entrypoint"]))
    assert args.gpus_per_trial > 0


def test_its_storage_is_of_many_nodes_and_has_the_name_that_it_asks_for() -> None:
    claim = document("kuberay-storage.yaml")
    assert (claim["apiVersion"], claim["kind"]) == ("v1", "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    resources = {
        v["persistentVolumeClaim"]["claimName"] for p in pods(JOB).values() for v in p.get("volumes", [])
    }
    assert resources == {claim["metadata"]["name"]}


def _cluster(job: Any) -> Any:
    return job["spec"]["rayClusterSpec"]


def _worker(job: Any) -> Any:
    return _cluster(job)["workerGroupSpecs"][0]


def _container(job: Any, part: str) -> Any:
    return pods(job)[part]["containers"][0]


def _env(job: Any, name: str, value: str) -> None:
    entries = _container(job, "head")["env"]
    entries[:] = [e for e in entries if e["name"] != name] + [{"name": name, "value": value}]


@pytest.mark.parametrize(
    ("problem", "mistake"),
    [
        ("shutdownAfterJobFinish", lambda j: j["spec"].update(shutdownAfterJobFinish=True)),
        ("headGroupSpec", lambda j: _cluster(j).pop("headGroupSpec")),
        ("enableIngres", lambda j: _cluster(j)["headGroupSpec"].update(enableIngres=True)),
        ("minReplica", lambda j: _worker(j).update(minReplica=1)),
        ("'2' is not of type 'integer'", lambda j: _worker(j).update(replicas="2")),
        ("'tokens' is not one of", lambda j: _cluster(j)["authOptions"].update(mode="tokens")),
        ("idleTimeout", lambda j: _cluster(j)["autoscalerOptions"].update(idleTimeout=1)),
        ("volumeMount", lambda j: _container(j, "head").update(volumeMount=[])),
        ("'ray.io/v1' was expected", lambda j: j.update(apiVersion="ray.io/v1alpha1")),
        ("0 is not of type 'string'", lambda j: _cluster(j)["headGroupSpec"]["rayStartParams"].update(a=0)),
    ],
)
def test_a_field_that_the_api_does_not_know_is_found(problem: str, mistake: Change) -> None:
    assert any(problem in fault for fault in faults(changed(JOB, mistake)))


@pytest.mark.parametrize(
    ("problem", "mistake"),
    [
        ("on the head", lambda j: _cluster(j)["headGroupSpec"]["rayStartParams"].pop("num-cpus")),
        ("head may be on spot", lambda j: pods(j)["head"].pop("affinity")),
        ("head may be on spot", lambda j: pods(j)["head"].update(tolerations=pods(j)["gpu"]["tolerations"])),
        ("that are not spot", lambda j: pods(j)["gpu"].pop("affinity")),
        ("none is there", lambda j: _worker(j).update(minReplicas=0)),
        ("no GPU", lambda j: _container(j, "gpu")["resources"]["limits"].pop("nvidia.com/gpu")),
        ("does not grow", lambda j: _cluster(j).pop("enableInTreeAutoscaling")),
        ("the cluster stays", lambda j: j["spec"].pop("shutdownAfterJobFinishes")),
        ("ends the study", lambda j: j["spec"].update(backoffLimit=0)),
        ("pauses is killed", lambda j: _env(j, "RAY_JOB_STOP_WAIT_TIME_S", "3")),
        ("pauses is killed", lambda j: pods(j)["head"].pop("terminationGracePeriodSeconds")),
        ("no token", lambda j: _cluster(j).pop("authOptions")),
        ("reached from outside", lambda j: _cluster(j)["headGroupSpec"].update(serviceType="LoadBalancer")),
        ("node's ports", lambda j: pods(j)["gpu"].update(hostNetwork=True)),
        ("submitter: may be root", lambda j: pods(j)["submitter"].pop("securityContext")),
        ("gpu: may become root", lambda j: _container(j, "gpu").pop("securityContext")),
        ("gpu: holds a key", lambda j: pods(j)["gpu"].pop("automountServiceAccountToken")),
        ("head: RAY_AUTH_TOKEN is written", lambda j: _env(j, "RAY_AUTH_TOKEN", "x")),
        (
            "gpu: the shared folder",
            lambda j: pods(j)["gpu"].update(volumes=[{"name": "lpstudy", "emptyDir": {}}]),
        ),
        ("head: the shared folder", lambda j: _container(j, "head").pop("volumeMounts")),
        ("head: LPSTUDY_CACHE", lambda j: _env(j, "LPSTUDY_CACHE", "/tmp")),
        ("does not write", lambda j: j["spec"].update(entrypoint="python -m lpstudy.sweep a --storage /tmp")),
        ("not the pinned Ray", lambda j: _cluster(j).update(rayVersion="2.52.0")),
        ("not one image", lambda j: _container(j, "gpu").update(image="lpstudy:latest")),
        ("not one image", lambda j: _container(j, "submitter").update(image="rayproject/ray:2.52.0")),
    ],
)
def test_a_broken_rule_is_found(problem: str, mistake: Change) -> None:
    assert any(problem in complaint for complaint in complaints(changed(JOB, mistake)))
