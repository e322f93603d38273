"""How, and on how many machines, the jobs of a suite are run."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from anomalybench.core.errors import UsageError
from anomalybench.core.job import Job

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Settings:
    """How jobs are run. None of it says what they compute.

    Attributes:
        device: Torch device name, or `auto`.
        feature_gb: Most that frozen features may take on the disk; 0 keeps none.
        timeout: Seconds that a job may take; None for any.
        workers: Processes of this machine; 1 runs all in this process.
        cluster: Address of a Dask scheduler, or `local` for one on this machine with so many workers; None for none.
        keep_models: Whether each job's fitted method is kept.

    Raises:
        UsageError: Numbers that cannot be, or that go unheard.
    """

    device: str = "auto"
    feature_gb: float = 20.0
    timeout: float | None = None
    workers: int = 1
    cluster: str | None = None
    keep_models: bool = True

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"--workers {self.workers}: there must be 1 at least.")
        if self.workers > 1 and self.cluster not in (None, "local"):
            raise UsageError(f"--workers {self.workers}: the cluster at {self.cluster} has its own. Leave one out.")
        if not self.feature_gb >= 0:
            raise UsageError(f"--feature-store {self.feature_gb:g}: gigabytes; 0 keeps none.")
        if self.timeout is not None and not 0 < self.timeout < 1e7:
            raise UsageError(f"--timeout {self.timeout:g}: seconds, above 0.")

    def check_device(self) -> None:
        """Raise UsageError for a device that is not here; one of a cluster is its workers' affair."""
        if self.cluster is None:
            from anomalybench.vision.devices import device_name  # here, so that --dry-run need not wait for torch

            device_name(self.device)

    @property
    def threads(self) -> int:
        """Threads of each worker on this machine: together no more than there are cores."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # one number for each level of nesting
        return int(wanted) if wanted.isdecimal() else max(1, cores // self.workers)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of each worker on this machine: libraries read it as they are loaded."""
        return dict.fromkeys(_THREADS, str(self.threads))


def shard(jobs: Sequence[Job], part: str | None) -> list[Job]:
    """The jobs that fall into part `i/n`, i from 1 to n: every job into exactly one, by its id alone.

    Raises:
        UsageError: There is no such part.
    """
    if part is None:
        return list(jobs)
    numbers = re.fullmatch(r"(\d+)/(\d+)", part)
    i, n = (int(number) for number in numbers.groups()) if numbers else (0, 0)
    if not 1 <= i <= n:
        raise UsageError(f"--shard {part}: write I/N, as in --shard 1/8, I being from 1 to N.")
    return [job for job in jobs if int(job.id, 16) % n == i - 1]
