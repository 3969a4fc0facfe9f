"""The roofline: what a machine lets an intensity reach, and which of its two limits it is.

Williams, Waterman and Patterson, Roofline (CACM 2009): attainable = min(peak, intensity x
bandwidth). ideal intensity = peak / bandwidth; below it memory is the limit (XSP, 1908.06869).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bus.messages import Ceiling, Device

NS = 1_000_000_000


class Roof(msgspec.Struct, frozen=True, kw_only=True):
    """Both limits of a machine. source: measured or datasheet; what: of what, by what, where."""

    peak_gflops: float
    bandwidth_gb_per_s: float
    source: str
    what: str

    @property
    def ideal_intensity(self) -> float:
        """FLOPs a byte at which both limits meet."""
        return self.peak_gflops / self.bandwidth_gb_per_s

    def attainable(self, intensity: float) -> float:
        """GFLOP/s at most."""
        return min(self.peak_gflops, intensity * self.bandwidth_gb_per_s)

    def bound(self, intensity: float) -> str:
        """memory or compute: which limit it is."""
        return "memory" if intensity < self.ideal_intensity else "compute"

    def least_ns(self, flops: float, moved_bytes: float) -> float:
        """No run is quicker than this: both limits at once, each wholly used."""
        compute = flops / self.peak_gflops if flops else 0.0
        return max(compute, moved_bytes / self.bandwidth_gb_per_s)


def intensity(flops: float, moved_bytes: float) -> float:
    """FLOPs a byte; 0 where nothing is moved (XSP)."""
    return flops / moved_bytes if moved_bytes else 0.0


def gflops(flops: float, latency_ns: float) -> float:
    """10^9 FLOPs a second, which is FLOPs a nanosecond."""
    return flops / latency_ns if latency_ns else 0.0


# ------------------------------------------------------------------ which roofs there are


class Sheet(msgspec.Struct, frozen=True):
    """A device in its maker's words: its peak without sparsity by type, and its memory.

    tensor: of float16 and bfloat16, by matrix units.
    """

    name: str
    float32: float
    tensor: float
    bandwidth_gb_per_s: float
    source: str
    least_bytes: int = 0
    most_bytes: int = 1 << 60


GIB = 1 << 30
DATASHEETS = (
    Sheet("V100", 15_700, 125_000, 900, "NVIDIA Tesla V100 datasheet (SXM2)"),
    Sheet("P100", 10_600, 21_200, 732, "NVIDIA Tesla P100 datasheet (SXM2)"),
    Sheet("T4", 8_100, 65_000, 320, "NVIDIA T4 datasheet"),
    Sheet("A100", 19_500, 312_000, 1_555, "NVIDIA A100 datasheet, 40 GB", most_bytes=48 * GIB),
    Sheet("A100", 19_500, 312_000, 2_039, "NVIDIA A100 datasheet, 80 GB", least_bytes=48 * GIB),
    Sheet("H100 80GB HBM3", 66_900, 989_400, 3_350, "NVIDIA H100 datasheet (SXM5)"),
    Sheet("H100 PCIe", 51_200, 756_000, 2_000, "NVIDIA H100 datasheet (PCIe)"),
    Sheet("MI300X", 163_400, 1_307_400, 5_300, "AMD Instinct MI300X data sheet"),
    Sheet("MI250X", 47_900, 383_000, 3_277, "AMD Instinct MI250X data sheet, both dies"),
)


def datasheet_roof(devices: Sequence[Device], dtype: str = "float32") -> Roof | None:
    """Of the first device that is no processor and that the table knows, for this type."""
    for device in devices:
        if device.kind == "cpu":
            continue
        for sheet in DATASHEETS:
            fits = sheet.least_bytes <= device.memory_bytes < sheet.most_bytes
            if sheet.name in device.name and fits:
                half = dtype in ("float16", "bfloat16")
                kind = f"{dtype}, matrix units" if half else "float32"
                return Roof(
                    peak_gflops=sheet.tensor if half else sheet.float32,
                    bandwidth_gb_per_s=sheet.bandwidth_gb_per_s,
                    source="datasheet",
                    what=f"{device.name}, {kind}: {sheet.source}",
                )
    return None


def measured_roof(ceilings: Sequence[Ceiling], threads: int, dtype: str = "float32") -> Roof | None:
    """What was measured with at most so many threads (0: any number); None: nothing was.

    The best counts: more threads can always do what fewer did.
    """
    able = [c for c in ceilings if c.value > 0 and (not threads or c.threads <= threads)]
    compute = [c for c in able if c.kind == "compute" and c.dtype == dtype]
    memory = [c for c in able if c.kind == "memory"]
    if not compute or not memory:
        return None
    peak, stream = (max(each, key=lambda c: c.value) for each in (compute, memory))
    return Roof(
        peak_gflops=peak.value,
        bandwidth_gb_per_s=stream.value,
        source="measured",
        what=f"{dtype}, {_threads(threads or peak.threads)}: {peak.how}; {stream.how}",
    )


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"
