from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from frameworm.experiment.provenance.environment import capture_quick, capture_slow, write_requirements

QUICK = """
import json
from frameworm.experiment.provenance.environment import capture_quick
print(json.dumps(capture_quick()))
"""
TOKEN = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"


def run_quick(
    *args: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, raw_env: Any = None
) -> dict[str, Any]:
    environment = raw_env or {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(env or {})}
    done = subprocess.run(
        [sys.executable, "-c", QUICK, *args], env=environment, cwd=cwd, capture_output=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def slow() -> dict[str, Any]:
    return capture_slow()


def test_quick_tells_the_command_and_the_interpreter(tmp_path: Path) -> None:
    found = run_quick("--lr", "0.1", cwd=tmp_path)
    assert found["command"] == [sys.executable, "-c", QUICK, "--lr", "0.1"]
    assert found["cwd"] == str(tmp_path)
    assert found["executable"] == sys.executable
    assert found["python_version"] == sys.version.split()[0]
    assert found["python_implementation"] == "cpython"
    assert found["host"] == os.uname().nodename


def test_quick_needs_no_imports_and_less_than_a_few_milliseconds() -> None:
    capture_quick()
    costs = []
    for _ in range(20):
        start = time.perf_counter()
        capture_quick()
        costs.append(time.perf_counter() - start)
    assert min(costs) < 0.003


def test_variables_are_recorded_by_allow_list_only() -> None:
    planted = {
        "CUDA_VISIBLE_DEVICES": "0,1",
        "OMP_NUM_THREADS": "4",
        "SLURM_JOB_ID": "77",
        "TOKENIZERS_PARALLELISM": "false",
        "AWS_SECRET_ACCESS_KEY": "planted",
        "HF_TOKEN": "planted",
        "WANDB_API_KEY": "planted",
        "SLURM_JWT": "planted",
        "TF_VAR_db_password": "planted",
        "TORCH_SECRET": "planted",
        "MY_APPLICATION": "planted",
    }
    variables = run_quick(env=planted)["variables"]
    assert variables["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert variables["OMP_NUM_THREADS"] == "4"
    assert variables["SLURM_JOB_ID"] == "77"
    assert variables["TOKENIZERS_PARALLELISM"] == "false"
    assert "planted" not in json.dumps(variables)


def test_secrets_in_arguments_and_variables_are_masked() -> None:
    found = run_quick("--token", TOKEN, env={"XLA_FLAGS": f"--xla_dump_to=https://me:{TOKEN}@host/"})
    assert TOKEN not in json.dumps(found)
    assert "--token" in found["command"]


def test_bytes_that_are_no_text_can_still_be_stored(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    found = run_quick(cwd=Path(os.fsdecode(folder)))
    assert found["cwd"].endswith("caf\\xe9")
    json.dumps(found, ensure_ascii=False).encode("utf-8")


def test_time_zone_follows_tz() -> None:
    found = run_quick(env={"TZ": "Asia/Kolkata"})
    assert found["time_zone"] == "Asia/Kolkata"
    assert found["utc_offset_s"] == 19800


def test_a_deleted_working_folder_is_fine(tmp_path: Path) -> None:
    script = f"import os; os.mkdir({str(tmp_path / 'gone')!r}); os.chdir({str(tmp_path / 'gone')!r})\n"
    script += f"os.rmdir({str(tmp_path / 'gone')!r})\n" + QUICK
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    assert json.loads(done.stdout)["cwd"] == ""


def test_slow_lists_every_distribution_with_its_version(slow: dict[str, Any]) -> None:
    expected = {}
    for distribution in importlib.metadata.distributions():
        expected.setdefault(distribution.metadata["Name"], distribution.version)
    assert slow["packages"] == expected
    assert slow["packages"]["pytest"] == pytest.__version__


def test_slow_describes_the_machine_as_json(slow: dict[str, Any]) -> None:
    assert json.loads(json.dumps(slow)) == slow
    assert slow["cpu_count"] == os.cpu_count()
    assert 1 <= slow["cpu_count_usable"] <= slow["cpu_count"]
    assert slow["memory_bytes"] > 1 << 28
    assert isinstance(slow["gpus"], list)


def run_slow(*paths: Path, tools: Path | None = None) -> dict[str, Any]:
    script = "import json; from frameworm.experiment.provenance.environment import capture_slow\n"
    script += "print(json.dumps(capture_slow()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, paths), *sys.path])}
    if tools:
        environment["PATH"] = f"{tools}{os.pathsep}{environment['PATH']}"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def install(site: Path, name: str, direct_url: dict[str, Any] | None) -> None:
    folder = site / f"{name}-1.5.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\nSummary: x\n\nName: not-this\n"
    )
    if direct_url is not None:
        (folder / "direct_url.json").write_text(json.dumps(direct_url))


def test_where_packages_come_from(tmp_path: Path) -> None:
    install(tmp_path, "plain", None)
    install(tmp_path, "edited", {"url": "file:///home/me/edited", "dir_info": {"editable": True}})
    vcs_info = {"vcs": "git", "commit_id": "abc123"}
    install(tmp_path, "fromgit", {"url": f"https://me:{TOKEN}@host/x.git", "vcs_info": vcs_info})
    install(tmp_path, "wheel", {"url": "https://host/wheel-1.5-py3-none-any.whl", "archive_info": {}})
    install(tmp_path, "odd", {"no": "url"})
    found = run_slow(tmp_path)
    assert {name: found["packages"].get(name) for name in ("plain", "edited", "odd")} == dict.fromkeys(
        ("plain", "edited", "odd"), "1.5"
    )
    assert "not-this" not in found["packages"]
    sources = found["package_sources"]
    assert sources["edited"] == {"url": "file:///home/me/edited", "editable": True}
    assert sources["fromgit"]["commit"] == "abc123"
    assert TOKEN not in json.dumps(found)
    assert "plain" not in sources
    assert "odd" not in sources

    path = write_requirements(tmp_path / "provenance", found["packages"], sources)
    lines = path.read_text().splitlines()
    assert "plain==1.5" in lines
    assert "# edited==1.5 was installed as editable from file:///home/me/edited" in lines
    assert f"fromgit @ git+{sources['fromgit']['url']}@abc123" in lines
    assert "wheel @ https://host/wheel-1.5-py3-none-any.whl" in lines
    assert [path.name for path in (tmp_path / "provenance").iterdir()] == ["requirements.txt"]


def test_packages_of_every_form_are_listed(tmp_path: Path) -> None:
    header = "Metadata-Version: 1.2\nname: {}\nVersion: 2.5\n\n"
    for folder, page in (
        ("a.egg-info", "PKG-INFO"),
        ("b-2.5.egg/EGG-INFO", "PKG-INFO"),
        ("c-2.5.dist-info", "METADATA"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / page).write_text(header.format(folder[0]))
    (tmp_path / "d.egg-info").write_text(header.format("d"))
    (tmp_path / "e.dist-info").mkdir()  # cut short by an installation that failed
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("f-2.5.dist-info/METADATA", header.format("f"))
        archive.writestr("g-2.5.dist-info/METADATA", "Metadata-Version: 2.1\n\n")
    places = [tmp_path, tmp_path / "b-2.5.egg", tmp_path / "packed.zip", tmp_path / "missing"]
    packages = run_slow(*places)["packages"]
    assert {name: packages.get(name) for name in "abcdef"} == {**dict.fromkeys("abcdf", "2.5"), "e": None}
    assert {"None", "null", ""}.isdisjoint(packages)  # g, which tells no name


def test_requirements_are_sorted_and_read_by_pip(tmp_path: Path, slow: dict[str, Any]) -> None:
    from packaging.requirements import Requirement

    path = write_requirements(tmp_path, slow["packages"], slow["package_sources"])
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    names = [Requirement(line).name.lower() for line in lines]
    assert names == sorted(names)
    assert "pytest" in names


NVIDIA_SMI = """#!/bin/sh
echo "NVIDIA A100-SXM4-80GB, 81920, 550.54.15, GPU-1f6a"
echo "NVIDIA Odd, [N/A], 550.54.15, GPU-2b7c"
"""


def test_gpus_come_from_nvidia_smi(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(NVIDIA_SMI)
    tool.chmod(0o755)
    gpus = run_slow(tmp_path, tools=tmp_path)["gpus"]
    assert gpus == [
        {
            "name": "NVIDIA A100-SXM4-80GB",
            "memory_bytes": 81920 << 20,
            "driver_version": "550.54.15",
            "uuid": "GPU-1f6a",
        },
        {"name": "NVIDIA Odd", "memory_bytes": None, "driver_version": "550.54.15", "uuid": "GPU-2b7c"},
    ]


def test_a_failing_nvidia_smi_means_no_gpus(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho no devices were found\nexit 6\n")
    tool.chmod(0o755)
    assert run_slow(tmp_path, tools=tmp_path)["gpus"] == []


def test_the_file_that_standard_input_is(tmp_path: Path) -> None:
    given = tmp_path / "given.txt"
    given.write_text("1 2 3")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", QUICK]
    with open(given) as file:
        done = subprocess.run(command, env=environment, stdin=file, capture_output=True, check=True)
    assert json.loads(done.stdout)["stdin"] == str(given)
    done = subprocess.run(command, env=environment, input=b"1 2 3", capture_output=True, check=True)
    assert json.loads(done.stdout)["stdin"] is None


def test_umask_and_locale_are_those_of_the_process() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C.UTF-8"}
    done = subprocess.run([sys.executable, "-c", QUICK], env=environment, umask=0o027, capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert found["umask"] == "0027"
    assert found["locale"] == "LC_CTYPE=C.UTF-8"


def test_libraries_tell_what_they_compute_with_only_when_imported() -> None:
    script = "import json, sys; from frameworm.experiment.provenance.environment import capture_slow\n"
    script += "before = capture_slow()\nimport numpy\nafter = capture_slow()\n"
    script += "print(json.dumps([before['blas'], before['cuda'], after['blas'], 'torch' in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    before, cuda, after, torch = json.loads(done.stdout)
    assert (before, cuda, torch) == (None, None, False)
    assert {"name", "version"} <= after.keys()


def test_cpu_flags_are_sorted(slow: dict[str, Any]) -> None:
    assert slow["cpu_flags"] == sorted(slow["cpu_flags"])
    if os.uname().machine == "x86_64":
        assert "sse2" in slow["cpu_flags"]


CONTAINER = "0f" * 32
MOUNTS = [
    f"/var/lib/docker/containers/{CONTAINER}/hostname /etc/hostname rw",
    f"12:cpu:/docker/{CONTAINER}",
    f"0::/machine.slice/libpod-{CONTAINER}.scope",
    f"0::/kubepods.slice/cri-containerd-{CONTAINER}.scope",
    f"/var/lib/containers/storage/overlay-containers/{CONTAINER}/userdata/hosts",
]


@pytest.mark.parametrize("line", MOUNTS)
def test_the_id_of_a_container_is_found_wherever_it_stands(line: str) -> None:
    from frameworm.experiment.provenance.environment import container_id

    assert container_id(f"first line\n{line}\nlast") == CONTAINER
    assert container_id("/home/me/data/" + "0f" * 32) is None


def test_cores_are_those_that_cpuinfo_tells_apart() -> None:
    from frameworm.experiment.provenance.environment import cores_of

    threads = [(0, 0), (0, 1), (0, 0), (0, 1), (1, 0), (1, 1)]
    text = "".join(f"processor\t: {i}\nphysical id\t: {p}\ncore id\t\t: {c}\n\n" for i, (p, c) in enumerate(threads))
    assert cores_of(text) == 4
    assert cores_of("processor\t: 0\nBogoMIPS\t: 48.00\n") == 0


def test_the_cores_are_those_that_psutil_finds() -> None:
    from frameworm.experiment.provenance.environment import capture_slow

    assert capture_slow()["cpu_count_physical"] == psutil.cpu_count(logical=False)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"', "Debian GNU/Linux 12 (bookworm)"),
        ("PRETTY_NAME='Alpine Linux v3.19'", "Alpine Linux v3.19"),
        ("PRETTY_NAME=Arch", "Arch"),
        (r'PRETTY_NAME="a \"quoted\" \$name"', 'a "quoted" $name'),
        ('NAME="Fedora"', None),
    ],
)
def test_the_system_is_named_as_it_calls_itself(line: str, name: str | None) -> None:
    from frameworm.experiment.provenance.environment import pretty_name_of

    assert pretty_name_of(f'ID=x\n{line}\nVERSION="1"\n') == name
