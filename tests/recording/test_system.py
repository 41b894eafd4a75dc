from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frameworm.experiment.recording.system import SystemSampler

NOW = {
    "memory_used_bytes",
    "memory_percent",
    "process_memory_bytes",
    "process_threads",
    "disk_used_percent",
}


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_the_first_sample_has_no_rates_and_the_second_has(tmp_path: Path) -> None:
    sampler = SystemSampler(tmp_path)
    first = sampler.sample()
    assert NOW <= first.keys()
    assert not any(name.endswith("_per_s") or name.endswith("cpu_percent") for name in first)
    burn(0.3)
    second = sampler.sample()
    assert {"cpu_percent", "process_cpu_percent", "network_sent_bytes_per_s"} <= second.keys()
    for value in second.values():
        assert type(value) is float
        assert math.isfinite(value)
        assert value >= 0
    assert second["process_cpu_percent"] > 20
    assert second["memory_percent"] <= 100
    assert second["process_threads"] >= 1


def test_process_memory_is_the_resident_size(tmp_path: Path) -> None:
    sampler = SystemSampler(tmp_path)
    before = sampler.sample()["process_memory_bytes"]
    ballast = os.urandom(64 << 20)
    grown = sampler.sample()["process_memory_bytes"] - before
    assert grown == pytest.approx(len(ballast), rel=0.2)


def test_one_failing_source_costs_only_its_own_values(tmp_path: Path) -> None:
    sampler = SystemSampler(tmp_path / "missing")
    sample = sampler.sample()
    assert sample.keys() >= NOW - {"disk_used_percent"}
    assert "disk_used_percent" not in sample
    assert "FileNotFoundError" in sampler.errors["disk_space"]


def test_a_source_that_recovers_is_heard_again(tmp_path: Path) -> None:
    sampler = SystemSampler(tmp_path / "late")
    assert "disk_used_percent" not in sampler.sample()
    (tmp_path / "late").mkdir()
    assert "disk_used_percent" in sampler.sample()
    assert "disk_space" not in sampler.errors


def test_sampling_is_cheap(tmp_path: Path) -> None:
    sampler = SystemSampler(tmp_path)
    sampler.sample()
    costs = []
    for _ in range(10):
        start = time.perf_counter()
        sampler.sample()
        costs.append(time.perf_counter() - start)
    assert min(costs) < 0.02


PYNVML = """
NVML_TEMPERATURE_GPU = 0
class NVMLError(Exception): pass
class Info:
    def __init__(self, **values): self.__dict__.update(values)
def nvmlInit(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(i): return i
def nvmlDeviceGetUtilizationRates(gpu): return Info(gpu=40 + gpu, memory=1)
def nvmlDeviceGetMemoryInfo(gpu): return Info(total=1000, used=250, free=750)
def nvmlDeviceGetTemperature(gpu, sensor): return 61
def nvmlDeviceGetPowerUsage(gpu):
    if gpu == 1: raise NVMLError("Not Supported")
    return 70500
"""
SAMPLE = """
import json
from frameworm.experiment.recording.system import SystemSampler
sampler = SystemSampler()
print(json.dumps([sampler.sample(), sampler.errors]))
"""


def sample_with(path: Path) -> tuple[dict[str, float], dict[str, str]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", SAMPLE], env=environment, capture_output=True, text=True, check=True)
    sample, errors = json.loads(done.stdout)
    return sample, errors


def test_gpus_are_read_through_nvml_where_it_is_installed(tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text(PYNVML)
    sample, errors = sample_with(tmp_path)
    assert {name: value for name, value in sample.items() if name.startswith("gpu")} == {
        "gpu0/utilization_percent": 40.0,
        "gpu0/memory_used_bytes": 250.0,
        "gpu0/memory_percent": 25.0,
        "gpu0/temperature_celsius": 61.0,
        "gpu0/power_watts": 70.5,
        "gpu1/utilization_percent": 41.0,
        "gpu1/memory_used_bytes": 250.0,
        "gpu1/memory_percent": 25.0,
        "gpu1/temperature_celsius": 61.0,
    }
    assert "Not Supported" in errors["gpu1"]


def test_a_broken_driver_costs_only_the_gpus(tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text("def nvmlInit(): raise RuntimeError('Driver Not Loaded')")
    sample, errors = sample_with(tmp_path)
    assert NOW <= sample.keys()
    assert not any(name.startswith("gpu") for name in sample)
    assert "Driver Not Loaded" in errors["gpu"]
