"""What kustomize makes of the manifests, against Kubernetes' own schemas and against the server."""

import os
import re
import subprocess

import kubernetes_validate
import pytest
import yaml

from tests.deploy.settings import check_end, read_settings
from tests.support import environment

FOLDER = environment.ROOT / "deploy" / "kubernetes"
KINDS = {"Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Service"}
METRICS = "server/insight/README.md"
LABELS = {"app.kubernetes.io/name": "scalpel"}
# The oldest with probes by gRPC that are no longer behind a gate, and the newest with schemas here.
VERSIONS = ("1.27", "1.37")


def build(name: str) -> dict[str, dict]:
    """The objects of an overlay by their kind."""
    kustomize = os.environ.get("SCALPEL_KUSTOMIZE", "kustomize")
    done = subprocess.run(
        [kustomize, "build", str(FOLDER / name)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return {thing["kind"]: thing for thing in yaml.safe_load_all(done.stdout)}


@pytest.fixture(scope="module", params=["base", "gpu"])
def objects(request) -> dict[str, dict]:
    return build(request.param)


def pod_of(objects) -> dict:
    return objects["Deployment"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_as_the_schemas_say(objects, version):
    assert set(objects) == KINDS
    for thing in objects.values():
        kubernetes_validate.validate(thing, version, strict=True)


def test_the_schemas_refuse_a_misspelt_field(objects):
    thing = {**objects["Service"], "spec": {**objects["Service"]["spec"], "selektor": LABELS}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(thing, VERSIONS[-1], strict=True)


def test_all_selectors_mean_the_pods(objects):
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert LABELS.items() <= labels.items()
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"] == LABELS
    assert objects["Service"]["spec"]["selector"] == LABELS
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == LABELS
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == LABELS


def test_the_pod_may_do_little(objects):
    pod = pod_of(objects)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    resources = container["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_only_marked_pods_may_call_and_the_server_calls_nobody(objects):
    policy = objects["NetworkPolicy"]["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"} and "egress" not in policy
    sources = {rule["ports"][0]["port"]: rule["from"] for rule in policy["ingress"]}
    monitoring = {"kubernetes.io/metadata.name": "monitoring"}
    assert sources == {
        "grpc": [{"podSelector": {"matchLabels": {"scalpel-client": "true"}}}],
        "metrics": [{"namespaceSelector": {"matchLabels": monitoring}}],
    }


def settings_of(container: dict) -> dict[str, str]:
    return read_settings({entry["name"]: entry["value"] for entry in container["env"]})


def test_the_server_is_told_what_its_pod_has(objects):
    pod = pod_of(objects)
    (container,) = pod["containers"]
    settings = settings_of(container)
    assert "args" not in container and not pod["enableServiceLinks"]
    assert settings["threads"] == container["resources"]["limits"]["cpu"]
    check_end(settings, pod["terminationGracePeriodSeconds"])
    assert settings["allow-insecure"] == "true" and settings["tokens"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert settings["listen"] == f"0.0.0.0:{ports['grpc']}"
    assert settings["metrics-listen"] == f"0.0.0.0:{ports['metrics']}"
    annotations = objects["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["metrics"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == ports["grpc"]


def test_the_tokens_are_a_secret(objects):
    pod = pod_of(objects)
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (name,) = [volume["name"] for volume in pod["volumes"] if "secret" in volume]
    assert settings_of(container)["tokens"] == f"{mounts[name]}/tokens.json"


def test_it_scales_by_a_metric_that_the_server_has(objects):
    autoscaler = objects["HorizontalPodAutoscaler"]["spec"]
    assert autoscaler["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    assert "replicas" not in objects["Deployment"]["spec"]
    (metric,) = autoscaler["metrics"]
    names = re.findall(r"`(scalpel_[a-z_]+)`", (environment.ROOT / METRICS).read_text())
    assert metric["pods"]["metric"]["name"] in names


def test_the_gpu_is_the_only_difference():
    base, gpu = build("base"), build("gpu")
    (cpu_container,), (gpu_container,) = (pod_of(each)["containers"] for each in (base, gpu))
    settings = settings_of(gpu_container)
    assert settings.pop("device") == "cuda"
    assert settings == settings_of(cpu_container)
    assert cpu_container["image"] == "scalpel:0.1.0"
    assert gpu_container["image"] == "scalpel:0.1.0-gpu"
    assert gpu_container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert gpu["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    own = {"env", "image", "resources"}
    assert {key: gpu_container[key] for key in set(gpu_container) - own} == {
        key: cpu_container[key] for key in set(cpu_container) - own
    }
    others = KINDS - {"Deployment", "HorizontalPodAutoscaler"}
    assert {kind: gpu[kind] for kind in others} == {kind: base[kind] for kind in others}
