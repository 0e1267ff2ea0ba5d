"""The one thread in which the tails run, so that the event loop never waits for TensorFlow."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class TailWorker:
    """The one thread in which every tail of this process runs, in the order asked for."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="cutlayer-tail")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        # A call that is running ends first; it is bounded, and TensorFlow cannot be interrupted.
        self._executor.shutdown(wait=True)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs `function` after all that was asked for before. Cancelling leaves it to run to its end."""
        return await self.start(function, *arguments)

    def start(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Begins what `run` would do, for a caller that has other things to wait for meanwhile."""
        return asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    def submit(self, function: Callable[..., object], *arguments: Any) -> None:
        """Runs `function` likewise, without waiting: for the clean-up of a task that is being cancelled."""
        self._executor.submit(function, *arguments)
