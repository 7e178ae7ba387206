"""The server's rate limits: averages over completed buckets, so a short burst passes and a long one is stopped late."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class RollingRate:
    """Events per second, averaged over the last `buckets` completed buckets; 0 until the first is complete."""

    def __init__(
        self, limit: float, bucket_s: float, buckets: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self._bucket_s = bucket_s
        self._clock = clock
        self._completed: deque[int] = deque(maxlen=buckets)
        self._current = 0
        self._bucket_ends = clock() + bucket_s
        self._average = 0.0

    def add(self, events: int = 1) -> None:
        self._advance()
        self._current += events

    @property
    def average(self) -> float:
        self._advance()
        return self._average

    @property
    def exceeded(self) -> bool:
        return self.average > self.limit

    def _advance(self) -> None:
        late_s = self._clock() - self._bucket_ends
        if late_s < 0:
            return
        self._completed.append(self._current)
        self._current = 0
        skipped = int(late_s // self._bucket_s)
        for _ in range(min(skipped, self._completed.maxlen or 0)):
            self._completed.append(0)
        self._bucket_ends += (skipped + 1) * self._bucket_s
        self._average = sum(self._completed) / (len(self._completed) * self._bucket_s)


class CallWindow:
    """At most `limit` calls within any `window_s` seconds."""

    def __init__(self, limit: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._calls: deque[float] = deque()

    def allow(self) -> bool:
        """Count one call; False when it is one too many."""
        now = self._clock()
        while self._calls and self._calls[0] <= now - self._window_s:
            self._calls.popleft()
        self._calls.append(now)
        return len(self._calls) <= self._limit
