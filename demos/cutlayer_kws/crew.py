"""Worker processes for what computes: the trainer and TensorFlow hold Python's lock, and cores are two."""

from __future__ import annotations

import multiprocessing
import os
import queue
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress

_WORKERS = 2
_POLL_S = 0.2
# One thread of TensorFlow a worker: the sums of a step are small, and two workers share two cores.
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
}

_reports: multiprocessing.Queue[tuple[str, int, int]] | None = None


@dataclass(slots=True)
class Report:
    """Tells the parent how far a job is. Lives in the worker; picklable."""

    job: str
    _last: float = field(default=-1.0)

    def __call__(self, done: int, total: int) -> None:
        """Says that `done` of `total` are done; at most a hundred times a job."""
        share = done / max(total, 1)
        if _reports is not None and (share >= self._last + 0.01 or done >= total):
            self._last = share
            _reports.put((self.job, done, total))


class Crew:
    """Two worker processes. Jobs run in the order given, two at a time."""

    def __init__(self, bars: Progress) -> None:
        """Shows how far each job is on `bars`."""
        context = multiprocessing.get_context("spawn")
        self._queue: multiprocessing.Queue[tuple[str, int, int]] = context.Queue()
        self._bars = bars
        self._tasks: dict[str, Any] = {}
        others = set(multiprocessing.active_children())
        before = {name: os.environ.get(name) for name in _ENVIRONMENT}
        os.environ.update(_ENVIRONMENT)
        task = bars.add_task("starting TensorFlow", total=None)
        try:
            self._pool = ProcessPoolExecutor(
                _WORKERS, mp_context=context, initializer=_begin, initargs=(self._queue,)
            )
            # Workers are spawned, with the environment of that moment, when the first jobs are submitted.
            wait([self._pool.submit(_import_tensorflow) for _ in range(_WORKERS)])
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        bars.remove_task(task)
        self._workers = set(multiprocessing.active_children()) - others

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            # A lesson may have minutes to go. Its board ends with its worker.
            for worker in self._workers:
                worker.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._queue.close()

    def start(self, job: str, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Queues `function(*arguments, on_progress)`; `job` names it on the bars."""
        self._tasks[job] = self._bars.add_task(job, total=None)
        return self._pool.submit(function, *arguments, Report(job))

    def gather(self, *jobs: Future[Any]) -> list[Any]:
        """Waits for jobs, keeping the bars up to date. Raises the first error of any of them."""
        waiting = set(jobs)
        while waiting:
            done, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            self._update_bars()
            for job in done:
                job.result()
        return [job.result() for job in jobs]

    def _update_bars(self) -> None:
        while True:
            try:
                job, done, total = self._queue.get_nowait()
            except queue.Empty:
                return
            self._bars.update(self._tasks[job], completed=done, total=total)


def _begin(reports: multiprocessing.Queue[tuple[str, int, int]]) -> None:
    global _reports
    _reports = reports


def _import_tensorflow() -> None:
    from cutlayer_converter.quiet import quiet_tensorflow

    quiet_tensorflow()
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    tf.get_logger().setLevel("ERROR")
