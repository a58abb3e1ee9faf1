"""Measurements of the machine while a stage runs, under the names of MLflow's system metrics.

MLflow's own monitor would bring MLflow, a second of imports, into every stage; what it measures
takes psutil a tenth of a millisecond.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping

import psutil

SECONDS = 10.0
"""Time between two measurements, as in MLflow."""
SYSTEM = "system/"
"""Begins the names of measurements; MLflow shows these on a page of their own."""
MEGABYTE = 1e6


class Meter:
    """A thread that measures every few seconds, and once more at the end."""

    def __init__(
        self, record: Callable[[Mapping[str, float], int], None], seconds: float = SECONDS
    ) -> None:
        """Begin.

        Args:
            record: takes values by name, and the number of the measurement.
        """
        self._record, self._seconds = record, seconds
        self._ended = threading.Event()
        self._count = 0
        self._process = psutil.Process()
        self._network = psutil.net_io_counters()
        psutil.cpu_percent()  # shares are those since the call before
        self._process.cpu_percent()
        self._thread = threading.Thread(target=self._run, daemon=True, name="weir-meter")
        self._thread.start()

    def stop(self) -> None:
        """Measure a last time, and end."""
        self._ended.set()
        self._thread.join()
        self._measure()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self._measure()
            except (OSError, psutil.Error):
                return

    def _measure(self) -> None:
        self._record(
            {f"{SYSTEM}{name}": value for name, value in self._values().items()}, self._count
        )
        self._count += 1

    def _values(self) -> dict[str, float]:
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(".")
        network = psutil.net_io_counters()
        values = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system_memory_usage_percentage": memory.percent,
            "disk_usage_percentage": disk.percent,
            "disk_available_megabytes": disk.free / MEGABYTE,
            "process_cpu_percentage": self._process.cpu_percent(),
            "process_memory_megabytes": self._process.memory_info().rss / MEGABYTE,
        }
        if network and self._network:
            received = network.bytes_recv - self._network.bytes_recv
            sent = network.bytes_sent - self._network.bytes_sent
            values |= {
                "network_receive_megabytes": received / MEGABYTE,
                "network_transmit_megabytes": sent / MEGABYTE,
            }
        return values | _gpus()


def _gpus() -> dict[str, float]:
    """Memory of the GPUs that this process already uses; nothing is set up for a measurement."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    values = {}
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        values[f"gpu_{index}_memory_usage_megabytes"] = (total - free) / MEGABYTE
        values[f"gpu_{index}_memory_usage_percentage"] = 100 * (total - free) / total
    return values
