"""One measured latency: the record that travels from the clock to the report."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """The milliseconds of a forward pass of one batch."""

    model: str
    """Name of the network or file, as the caller has it."""
    runtime: str
    """torch or onnxruntime."""
    target: str
    """cpu-1, cpu-n or cuda."""
    batch: int
    """Images in the batch."""
    threads: int
    """Threads that compute; 1 on a GPU."""
    median_ms: float
    p95_ms: float
    runs: int
