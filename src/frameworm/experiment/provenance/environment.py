"""Where an experiment runs: command, interpreter, machine, installed packages.

Two parts, because ``start()`` must not wait: what the process knows of itself, at once, and what has to be
looked for on disk or asked of other programs, on a background thread.
"""

from __future__ import annotations

import _locale  # not ``locale``, whose import takes 1 ms
import functools
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from frameworm.experiment.recording.process import no_fork
from frameworm.experiment.secrets import mask_argv, mask_text, mask_url

REQUIREMENTS_NAME = "requirements.txt"
_NVIDIA_SMI_TIMEOUT_S = 10.0

# Nothing of the environment is recorded but what changes results, speed or placement.
_VARIABLES = frozenset(
    """
    CONDA_DEFAULT_ENV CONDA_PREFIX CUBLAS_WORKSPACE_CONFIG GROUP_RANK HF_DATASETS_CACHE HF_DATASETS_OFFLINE
    HF_HOME HF_HUB_CACHE HF_HUB_OFFLINE LANG LD_LIBRARY_PATH LD_PRELOAD LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR
    MASTER_PORT NODE_RANK NVIDIA_TF32_OVERRIDE NVIDIA_VISIBLE_DEVICES PBS_JOBID PYTHONDONTWRITEBYTECODE
    PYTHONHASHSEED PYTHONOPTIMIZE PYTHONPATH PYTHONUNBUFFERED PYTHONUTF8 PYTHONWARNINGS RANK
    ROCR_VISIBLE_DEVICES TOKENIZERS_PARALLELISM TRANSFORMERS_CACHE TRANSFORMERS_OFFLINE TZ
    VECLIB_MAXIMUM_THREADS VIRTUAL_ENV WORLD_SIZE
    """.split()
)
_VARIABLE_PREFIXES = tuple(
    """
    BLIS_ CUDA_ CUDNN_ GLOO_ GOMP_ GOTO_ HIP_ HSA_ JAX_ KMP_ LC_ MALLOC_ MKL_ NCCL_ NUMBA_ NUMEXPR_ OMP_
    OMPI_COMM_WORLD_ OPENBLAS_ PYTORCH_ RCCL_ SLURM_ TF_CPP_ TF_CUDNN_ TF_DETERMINISTIC_ TF_ENABLE_ TF_FORCE_
    TF_GPU_ TF_NUM_ TF_XLA_ TORCH_ TORCHELASTIC_ TORCHINDUCTOR_ TRITON_ UCX_ XLA_
    """.split()
)
# SLURM_JWT is a login; others of the kind are to be expected behind any prefix.
_SECRET_NAME = re.compile(r"TOKEN(?!IZER)|SECRET|PASSW|CREDENTIAL|JWT|API_?KEY|ACCESS_?KEY|PRIVATE", re.IGNORECASE)

# /var/lib/docker/containers/<id>/hostname, /docker/<id>, libpod-<id>.scope, cri-containerd-<id>.scope, …
_CONTAINER = re.compile(r"(?:containers?|docker|libpod|crio|containerd|kubepods\S*)[-/:]([0-9a-f]{64})\b")


def is_recorded(variable: str) -> bool:
    """Whether an environment variable is among those that are recorded."""
    listed = variable in _VARIABLES or variable.startswith(_VARIABLE_PREFIXES)
    return listed and not _SECRET_NAME.search(variable)


def capture_quick() -> dict[str, Any]:
    """Return what this process knows of itself; takes 0.1 ms, starts nothing, asks no server.

    Returns:
        ``command`` (the whole command line, interpreter and its options included, secrets masked), ``cwd``,
        ``stdin`` (path of the file that standard input is read from, or None), ``executable``, ``python_version``,
        ``python_implementation``, ``pid``, ``host``, ``user`` (None where the environment does not say;
        ``capture_slow`` knows), ``platform``, ``machine``, ``time_zone``, ``utc_offset_s``, ``locale``, ``umask``
        (such as ``0022``) and ``variables`` (those of an allow-list, secrets masked).
    """
    system = os.uname()
    local = time.localtime()
    version = sys.version_info
    try:
        cwd = os.getcwd()
    except FileNotFoundError:  # the folder was deleted under us
        cwd = ""
    return {
        "command": mask_argv([storable(word) for word in sys.orig_argv]),
        "cwd": storable(cwd),
        "stdin": _stdin(),
        "executable": storable(sys.executable or ""),
        "python_version": f"{version.major}.{version.minor}.{version.micro}"
        + ("" if version.releaselevel == "final" else version.releaselevel[0] + str(version.serial)),
        "python_implementation": sys.implementation.name,
        "pid": os.getpid(),
        "host": system.nodename,
        "user": os.environ.get("LOGNAME") or os.environ.get("USER"),
        "platform": f"{system.sysname} {system.release}",
        "machine": system.machine,
        "time_zone": _time_zone(local.tm_zone),
        "utc_offset_s": local.tm_gmtoff,
        "locale": _locale_in_use(),
        "umask": _umask(),
        "variables": {
            name: mask_text(storable(value)) for name, value in sorted(os.environ.items()) if is_recorded(name)
        },
    }


def capture_slow() -> dict[str, Any]:
    """Return what takes time to find; up to seconds, for a background thread. Never imports a framework.

    Returns:
        ``packages`` (distribution name to version), ``package_sources`` (name to ``url`` and, where given,
        ``editable``, ``vcs``, ``commit``, for what did not come from an index), ``cpu_model``, ``cpu_count``
        (logical), ``cpu_count_physical``, ``cpu_count_usable`` (by this process), ``cpu_flags`` (sorted),
        ``memory_bytes``, ``gpus`` (a list of ``name, memory_bytes, driver_version, uuid``), ``os_release``, ``libc``,
        ``container`` (``id``, ``image``, ``image_id``, as far as they show), ``user``; and, of what is imported,
        ``blas`` (NumPy's ``name, version, configuration``) and ``cuda`` (PyTorch's ``version, cudnn``). What cannot
        be found is None or empty.
    """
    packages, sources = _distributions(tuple((folder, _modified_ns(folder)) for folder in sys.path))
    return {"packages": packages, "package_sources": sources, **_machine(), "blas": _blas(), "cuda": _cuda()}


@functools.cache
def _machine() -> dict[str, Any]:
    return {
        **_cpu(),
        "memory_bytes": _memory_bytes(),
        "gpus": _gpus(),
        "os_release": _os_release(),
        "libc": _libc(),
        "container": _container(),
        "user": _user(),
    }


def _modified_ns(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return 0


def write_requirements(
    provenance_dir: Path, packages: Mapping[str, str], sources: Mapping[str, Mapping[str, Any]] | None = None
) -> Path:
    """Write ``requirements.txt``, which ``pip install -r`` takes, and return its path.

    Args:
        provenance_dir: folder of the file; made when needed.
        packages: as in ``capture_slow()["packages"]``.
        sources: as in ``capture_slow()["package_sources"]``. Packages from a URL are written as ``name @ url``;
            editable ones only as a comment, as their folder is what it is today.
    """
    lines = [f"# Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"]
    for name in sorted(packages, key=str.lower):
        source = (sources or {}).get(name)
        if source is None:
            lines.append(f"{name}=={packages[name]}")
        elif source.get("editable"):
            lines.append(f"# {name}=={packages[name]} was installed as editable from {source['url']}")
        elif "vcs" in source:
            lines.append(f"{name} @ {source['vcs']}+{source['url']}@{source.get('commit', '')}".rstrip("@"))
        else:
            lines.append(f"{name} @ {source['url']}")
    provenance_dir.mkdir(exist_ok=True)
    path = provenance_dir / REQUIREMENTS_NAME
    temporary = path.with_name(f"{REQUIREMENTS_NAME}.tmp")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def storable(text: str) -> str:
    """Escape bytes that are no UTF-8, which file names and variables may hold and JSON files may not."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _time_zone(abbreviation: str) -> str:
    """Return the zone's name such as ``Europe/Berlin`` if the system has one, else the abbreviation."""
    try:
        named = os.environ.get("TZ") or os.readlink("/etc/localtime").partition("zoneinfo/")[2]
    except OSError:
        named = ""
    return storable(named.lstrip(":")) or abbreviation


@functools.lru_cache(maxsize=1)
def _distributions(folders: tuple[tuple[str, int], ...]) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Return versions of all installed distributions, and where those come from that are not from an index.

    They are looked for once as long as ``sys.path`` and its folders' times of modification stay the same: a
    hundred experiments in a loop need not read a hundred files each.
    """
    packages: dict[str, str] = {}
    sources: dict[str, dict[str, Any]] = {}
    for folder, _ in folders:
        for name, version, direct_url in _installed(folder or "."):
            if name in packages:  # of two, the first on sys.path is what is imported
                continue
            packages[name] = version
            if source := _source(direct_url):
                sources[name] = source
    return packages, sources


def _installed(folder: str) -> Iterator[tuple[str, str, str | None]]:
    """Yield name, version and ``direct_url.json`` of each distribution in a folder of ``sys.path``.

    What ``importlib.metadata`` would tell, and what it is asked for where the folder is a zip archive. Importing it
    takes 20 ms and its reading a page as an e-mail 1 ms, while the training has just begun.
    """
    if os.path.isfile(folder):
        from importlib import metadata

        for distribution in metadata.distributions(path=[folder]):
            name, version = distribution.metadata["Name"], distribution.metadata["Version"]
            if name and version:
                yield name, version, distribution.read_text("direct_url.json")
        return
    try:
        entries = os.listdir(folder)
    except OSError:
        return
    for entry in entries:
        if entry.endswith((".dist-info", ".egg-info")) or (entry == "EGG-INFO" and folder.endswith(".egg")):
            about = os.path.join(folder, entry)
            # METADATA by PEP 566; PKG-INFO in a folder of setuptools'; a file by distutils
            header = _header(os.path.join(about, "METADATA")) or _header(os.path.join(about, "PKG-INFO"))
            if found := header or _header(about):
                yield *found, _text(os.path.join(about, "direct_url.json"))


def _header(page: str) -> tuple[str, str] | None:
    """Return name and version from the head of a page of metadata; None if there is none, or they are missing."""
    fields = dict.fromkeys((b"name", b"version"), "")
    try:
        with open(page, "rb") as lines:
            for line in lines:
                field, _, value = line.partition(b":")
                if field.lower() in fields:
                    fields[field.lower()] = value.strip().decode("utf-8", "replace")
                if not line.strip() or all(fields.values()):
                    break
    except OSError:
        return None
    name, version = fields.values()
    return (name, version) if name and version else None


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _source(direct_url: str | None) -> dict[str, Any] | None:
    """Read PEP 610's ``direct_url.json``."""
    import json

    if not direct_url:
        return None
    try:
        record = json.loads(direct_url)
        source: dict[str, Any] = {"url": mask_url(str(record["url"]))}
        if record.get("dir_info", {}).get("editable"):
            source["editable"] = True
        if "vcs_info" in record:
            source["vcs"] = str(record["vcs_info"]["vcs"])
            source["commit"] = str(record["vcs_info"]["commit_id"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return source


def _locale_in_use() -> str:
    """Return ``de_DE.UTF-8`` if it is so in every respect, else such as ``LC_CTYPE=C.UTF-8``, where it is not C."""
    parts = _locale.setlocale(_locale.LC_ALL, None).split(";")
    return ";".join(part for part in parts if not part.endswith("=C"))


def _stdin() -> str | None:
    """Return the file that standard input is, if it is one."""
    try:
        return storable(os.readlink("/proc/self/fd/0")) if stat.S_ISREG(os.fstat(0).st_mode) else None
    except OSError:
        return None


def _umask() -> str | None:
    """Ask without setting it, as ``os.umask`` would, for a moment, for all threads."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next((line.split()[1] for line in file if line.startswith("Umask:")), None)
    except OSError:
        return None


def _container() -> dict[str, str] | None:
    """Return what tells the container that this runs in: Podman's own file, else the id among the mounts."""
    try:
        lines = Path("/run/.containerenv").read_text(encoding="utf-8", errors="replace").splitlines()
        values = {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}
        names = {"id": "id", "image": "image", "image_id": "imageid"}
        if found := {name: values[key] for name, key in names.items() if values.get(key)}:
            return found
    except OSError:
        pass
    for place in ("/proc/self/mountinfo", "/proc/self/cgroup"):
        try:
            text = Path(place).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if identity := container_id(text):
            return {"id": identity}
    return None


def container_id(text: str) -> str | None:
    """Return the id of a container that a list of mounts or control groups names."""
    found = _CONTAINER.search(text)
    return found[1] if found else None


def _blas() -> dict[str, Any] | None:
    show = getattr(getattr(sys.modules.get("numpy"), "__config__", None), "show", None)
    try:
        found = show(mode="dicts")["Build Dependencies"]["blas"] if show is not None else {}
    except (TypeError, KeyError):  # NumPy before 1.25
        return None
    names = {"name": "name", "version": "version", "configuration": "openblas configuration"}
    return {name: found[key] for name, key in names.items() if found.get(key)} or None


def _cuda() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    version = getattr(getattr(torch, "version", None), "cuda", None)
    if torch is None or version is None:
        return None
    return {"version": version, "cudnn": torch.backends.cudnn.version()}


def _cpu() -> dict[str, Any]:
    model = info = None
    flags: list[str] = []
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"^(?:model name|Model|cpu model)\s*:\s*(.+)$", info, re.MULTILINE):
            model = found[1].strip()
        if found := re.search(r"^(?:flags|Features)\s*:\s*(.+)$", info, re.MULTILINE):
            flags = sorted(found[1].split())
    except OSError:
        model = _ask(["sysctl", "-n", "machdep.cpu.brand_string"]).strip() or None
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu_model": model,
        "cpu_count": os.cpu_count(),
        "cpu_count_physical": cores_of(info or "") or _physical_cores(),
        "cpu_count_usable": usable,
        "cpu_flags": flags,
    }


def cores_of(cpuinfo: str) -> int:
    """Return how many cores ``/proc/cpuinfo`` tells apart; 0 where it does not, as on ARM."""
    where = (re.findall(rf"^{name}\s*:\s*(\d+)$", cpuinfo, re.MULTILINE) for name in ("physical id", "core id"))
    return len(set(zip(*where, strict=False)))


def _physical_cores() -> int | None:
    with no_fork():
        import psutil  # 20 ms, in which the training has just begun

    found: int | None = psutil.cpu_count(logical=False)
    return found


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def _gpus() -> list[dict[str, Any]]:
    """Ask ``nvidia-smi``, which is there wherever a driver is; importing a framework would take its memory."""
    fields = "name,memory.total,driver_version,uuid"
    listing = _ask(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
    gpus = []
    for line in listing.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 4:
            name, mebibytes, driver, uuid = cells
            memory = int(mebibytes) << 20 if mebibytes.isdigit() else None
            gpus.append({"name": name, "memory_bytes": memory, "driver_version": driver, "uuid": uuid})
    return gpus


def _ask(command: list[str]) -> str:
    """Return what a program prints, or "" if it is missing, fails or takes too long."""
    if shutil.which(command[0]) is None:
        return ""  # without the import, and without a process that finds out
    with no_fork():
        import subprocess

    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_NVIDIA_SMI_TIMEOUT_S,
            check=True,
            start_new_session=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")


def _os_release() -> str | None:
    for path in ("/etc/os-release", "/usr/lib/os-release"):  # as ``platform`` does, whose import takes 3 ms
        if (text := _text(path)) is not None:
            return pretty_name_of(text)
    return None


def pretty_name_of(os_release: str) -> str | None:
    """Return the name of a system as ``/etc/os-release`` has it, in the quotes of a shell or without."""
    found = re.search(r"^PRETTY_NAME=([\"']?)(.*)\1\s*$", os_release, re.MULTILINE)
    return re.sub(r"\\(.)", r"\1", found[2]) if found else None


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError, AttributeError):  # musl and others do not say
        return None


def _user() -> str | None:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name  # may ask a directory server, hence not in the quick part
    except KeyError:
        return os.environ.get("LOGNAME") or os.environ.get("USER")
