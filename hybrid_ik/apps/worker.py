"""One thread that does the newest of everything it was asked, so that nothing queues while a frame is dragged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Job = Callable[[], None]


class Worker:
    """Does jobs in the order they were asked for; one that waits is dropped when a newer one of its name comes.

    Args:
        after: done after each round of jobs, unless one of them failed.
        failed: told what a job, `after` or `tick` raised; the worker goes on.
        tick: done between the rounds while `period` is set; `after` follows.
    """

    def __init__(self, after: Job, failed: Callable[[Exception], None], tick: Job) -> None:
        self._after, self._failed, self._tick = after, failed, tick
        self._jobs: dict[str, Job] = {}
        self._news, self._closed = threading.Condition(), False
        self.period: float | None = None
        """Time from one tick to the next [s]; None for no ticks. To be changed in jobs and ticks only."""
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="hybrid-ik worker", daemon=True)
        self._thread.start()

    def ask(self, name: str, job: Job) -> None:
        """Do a job soon, in place of one of the same name that has not begun; nothing once the worker is closed."""
        with self._news:
            self._jobs.pop(name, None)
            self._jobs[name] = job
            self._news.notify_all()

    @property
    def waiting(self) -> bool:
        """Whether there are jobs that have not begun."""
        return bool(self._jobs)

    def settle(self, seconds: float = 10.0) -> bool:
        """Wait until there is nothing left to do, for so long at most [s]; returns whether that came about."""
        with self._news:
            return self._news.wait_for(lambda: self._closed or not (self._jobs or self._busy), seconds)

    def close(self) -> None:
        """End the thread after the round it is in."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        due = time.perf_counter()
        while True:
            with self._news:
                self._busy = False
                self._news.notify_all()
                wait = None if self.period is None else max(0.0, due - time.perf_counter())
                self._news.wait_for(lambda: self._closed or bool(self._jobs), wait)
                if self._closed:
                    return
                jobs, self._jobs, self._busy = list(self._jobs.values()), {}, True
            if self.period is not None and time.perf_counter() >= due:
                due = time.perf_counter() + self.period
                jobs.append(self._tick)
            self._do(jobs)

    def _do(self, jobs: list[Job]) -> None:
        try:
            for job in jobs:
                job()
            if jobs:
                self._after()
        except Exception as error:  # whatever it is, the page says so and the next drag is answered again
            self._failed(error)
