"""Series of context ``system``: how busy the machine, this process and the GPUs are."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frameworm.experiment.recording.process import no_fork


class SystemSampler:
    """Measures the machine. Used by one thread at a time; a forked child makes its own.

    The first sample imports psutil (about 20 ms) and has no rates: those are means since the sample before.

    Args:
        root: ``disk_used_percent`` is that of the file system of this folder.
    """

    def __init__(self, root: Path = Path(".")) -> None:
        self._root = root
        self._sources: list[Callable[[], dict[str, float]]] | None = None
        self._earlier: dict[str, tuple[float, float]] = {}
        self.errors: dict[str, str] = {}
        """What was left out of the last sample, and why: source to error."""

    def sample(self) -> dict[str, float]:
        """Measure now. What this machine does not tell is left out. Takes 0.5 ms without a GPU; never raises.

        Returns:
            ``cpu_percent`` (of all cores: 0 to 100), ``memory_used_bytes``, ``memory_percent``,
            ``process_cpu_percent`` (of one core: 250 is two and a half cores), ``process_memory_bytes``
            (resident, of this process alone: adding its children counts shared pages twice and means reading
            the whole process table), ``process_threads``, ``disk_used_percent``, ``disk_read_bytes_per_s``,
            ``disk_write_bytes_per_s``, ``network_sent_bytes_per_s``, ``network_received_bytes_per_s`` (of the
            whole machine), and for each GPU as NVML numbers them ``gpu0/utilization_percent``,
            ``gpu0/memory_used_bytes``, ``gpu0/memory_percent``, ``gpu0/temperature_celsius``,
            ``gpu0/power_watts``.
        """
        values: dict[str, float] = {}
        self.errors = {}
        try:
            if self._sources is None:
                self._sources = self._open_sources()
        except ImportError as error:
            self.errors["psutil"] = repr(error)
            return values
        for source in self._sources:
            try:
                values |= source()
            except Exception as error:  # whatever a driver or /proc comes up with costs its own values only
                self.errors[source.__name__.removeprefix("_")] = repr(error)
        return values

    def _open_sources(self) -> list[Callable[[], dict[str, float]]]:
        with no_fork():
            self._psutil: Any = importlib.import_module("psutil")
        self._process = self._psutil.Process()
        sources = [self._cpu, self._memory, self._process_use, self._disk_space, self._disk, self._network]
        try:
            with no_fork():
                self._nvml: Any = importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
            self._gpus = [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
            sources.append(self._gpu)
        except Exception as error:  # not installed, no driver, no permission: NVML's errors are its own
            self.errors["gpu"] = repr(error)
        return sources

    def _cpu(self) -> dict[str, float]:
        used = self._psutil.cpu_percent(interval=None)
        if "cpu" not in self._earlier:  # the first answer is a meaningless 0.0
            self._earlier["cpu"] = (0.0, 0.0)
            return {}
        return {"cpu_percent": float(used)}

    def _memory(self) -> dict[str, float]:
        memory = self._psutil.virtual_memory()
        return {"memory_used_bytes": float(memory.used), "memory_percent": float(memory.percent)}

    def _process_use(self) -> dict[str, float]:
        with self._process.oneshot():
            times = self._process.cpu_times()
            return {
                "process_memory_bytes": float(self._process.memory_info().rss),
                "process_threads": float(self._process.num_threads()),
            } | self._rate("process_cpu_percent", 100.0 * (times.user + times.system))

    def _disk_space(self) -> dict[str, float]:
        return {"disk_used_percent": float(self._psutil.disk_usage(os.fspath(self._root)).percent)}

    def _disk(self) -> dict[str, float]:
        counters = self._psutil.disk_io_counters()
        if counters is None:  # no disks of its own, as in many containers
            return {}
        return self._rate("disk_read_bytes_per_s", counters.read_bytes) | self._rate(
            "disk_write_bytes_per_s", counters.write_bytes
        )

    def _network(self) -> dict[str, float]:
        counters = self._psutil.net_io_counters()
        if counters is None:
            return {}
        return self._rate("network_sent_bytes_per_s", counters.bytes_sent) | self._rate(
            "network_received_bytes_per_s", counters.bytes_recv
        )

    def _gpu(self) -> dict[str, float]:
        values: dict[str, float] = {}
        nvml = self._nvml

        def memory(gpu: Any) -> dict[str, float]:
            info = nvml.nvmlDeviceGetMemoryInfo(gpu)
            return {"memory_used_bytes": info.used, "memory_percent": 100.0 * info.used / info.total}

        measures: tuple[Callable[[Any], dict[str, float]], ...] = (
            lambda gpu: {"utilization_percent": nvml.nvmlDeviceGetUtilizationRates(gpu).gpu},
            memory,
            lambda gpu: {"temperature_celsius": nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)},
            lambda gpu: {"power_watts": nvml.nvmlDeviceGetPowerUsage(gpu) / 1000.0},
        )
        for number, gpu in enumerate(self._gpus):
            for measure in measures:
                try:
                    for name, value in measure(gpu).items():
                        values[f"gpu{number}/{name}"] = float(value)
                except Exception as error:  # "not supported" on this model; the rest is worth having
                    self.errors[f"gpu{number}"] = repr(error)
        return values

    def _rate(self, name: str, total: float) -> dict[str, float]:
        """Return what ``total`` has grown by each second since the last sample, if there was one."""
        now = time.monotonic()
        earlier = self._earlier.get(name)
        self._earlier[name] = (now, total)
        if earlier is None or now <= earlier[0] or total < earlier[1]:  # a counter may wrap or start anew
            return {}
        return {name: (total - earlier[1]) / (now - earlier[0])}
