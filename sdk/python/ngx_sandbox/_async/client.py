"""The way to the server: requests, retries, errors."""

from __future__ import annotations

import asyncio
import json as jsonlib
import os
import random
import time
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Callable, Mapping, Optional, Union
from urllib.parse import quote

import httpx

from ..errors import ConnectionLostError, SandboxError, error_from_response
from ..sse import Event, Parser

DELAY_MAX = 30.0

Content = Union[bytes, str, AsyncIterator[bytes]]


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


class AsyncClient:
    """Where the server is, and who asks; may serve any number of sandboxes.

    ``endpoint`` and ``api_key`` default to the environment's
    ``SANDBOX_ENDPOINT`` and ``SANDBOX_API_KEY``; ``api_key`` may be a function
    that gets one for each request.  A request is repeated only where nothing
    can have happened twice: after 503, and after a lost connection if it is
    idempotent; ``max_attempts`` times at most, for ``max_elapsed`` seconds,
    with pauses from ``base_delay`` seconds on.  ``timeout`` is the longest
    silence of the server, in seconds.
    """

    def __init__(self, endpoint: Optional[str] = None,
                 api_key: Union[None, str, Callable[[], str]] = None, *,
                 max_attempts: int = 6, max_elapsed: float = 120,
                 base_delay: float = 0.5, timeout: float = 3700,
                 headers: Optional[Mapping[str, str]] = None,
                 transport: Optional[httpx.AsyncBaseTransport] = None) -> None:
        self.endpoint = (endpoint or os.environ.get("SANDBOX_ENDPOINT")
                         or "http://127.0.0.1:8080").rstrip("/")
        self._api_key = api_key or os.environ.get("SANDBOX_API_KEY")
        self._max_attempts = max_attempts
        self._max_elapsed = max_elapsed
        self._base_delay = base_delay
        self._http = httpx.AsyncClient(
            headers=dict(headers or {}), transport=transport,
            timeout=httpx.Timeout(timeout, connect=30), trust_env=False)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_ignored: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections; sandboxes are left as they are."""
        await self._http.aclose()

    def authorization(self) -> dict[str, str]:
        """The header that proves who asks."""
        key = self._api_key() if callable(self._api_key) else self._api_key

        return {"Authorization": f"Bearer {key}"} if key else {}

    @asynccontextmanager
    async def stream(self, method: str, path: str, *, json: Any = None,
                     content: Optional[Content] = None,
                     params: Optional[Mapping[str, Any]] = None,
                     headers: Optional[Mapping[str, str]] = None,
                     operation: Optional[str] = None,
                     idempotent: bool = False
                     ) -> AsyncIterator[httpx.Response]:
        """An answer with status 2xx whose body is still to be read."""
        if json is not None:
            content = jsonlib.dumps(json)
            headers = {"Content-Type": "application/json", **(headers or {})}

        whole = content is None or isinstance(content, (bytes, str))
        repeatable = whole and (idempotent or method in ("GET", "HEAD"))
        query = {name: value for name, value in (params or {}).items()
                 if value is not None}
        started = time.monotonic()
        attempt = 0

        while True:
            attempt += 1
            request = self._http.build_request(
                method, self.endpoint + path, content=content, params=query,
                headers={**(headers or {}), **self.authorization()})
            failure: SandboxError

            try:
                response = await self._http.send(request, stream=True)
            except httpx.TransportError as cause:
                failure = ConnectionLostError(
                    f"no answer from {self.endpoint}: {cause}",
                    "CONNECTION_LOST", operation=operation)
                failure.__cause__ = cause
            else:
                if response.is_success:
                    break

                failure = await self._failure(response, operation)

            pause = failure.retry_after if failure.retry_after is not None \
                else self._base_delay * 2 ** (attempt - 1) \
                * random.uniform(0.75, 1.25)
            again = (repeatable if isinstance(failure, ConnectionLostError)
                     else whole and failure.status == 503
                     and (repeatable or failure.code != "TIMEOUT"))

            if not again or attempt >= self._max_attempts \
                    or time.monotonic() - started + pause > self._max_elapsed:
                raise failure

            await _sleep(min(pause, DELAY_MAX))

        try:
            yield response
        except httpx.TransportError as cause:
            raise ConnectionLostError(f"the answer broke off: {cause}",
                                      "CONNECTION_LOST",
                                      operation=operation) from cause
        finally:
            await response.aclose()

    @staticmethod
    async def _failure(response: httpx.Response,
                       operation: Optional[str]) -> SandboxError:
        try:
            body = await response.aread()
        except httpx.TransportError:
            body = b""
        finally:
            await response.aclose()

        return error_from_response(response.status_code, body,
                                   response.headers.get("Retry-After"),
                                   operation)

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        """The body of an answer with status 2xx."""
        async with self.stream(method, path, **options) as response:
            return await response.aread()

    async def json(self, method: str, path: str, **options: Any) -> Any:
        body = await self.request(method, path, **options)

        try:
            return jsonlib.loads(body)
        except ValueError as cause:
            raise ConnectionLostError("the answer is no JSON",
                                      "CONNECTION_LOST",
                                      operation=options.get("operation")) \
                from cause

    async def events(self, method: str, path: str,
                     **options: Any) -> AsyncIterator[Event]:
        """The events of a stream; leaving the loop closes it."""
        parser = Parser()

        async with self.stream(method, path, **options) as response:
            async for piece in response.aiter_raw():
                for event in parser.feed(piece):
                    yield event

    async def list_sandboxes(self, *, limit: Optional[int] = None,
                             cursor: Optional[str] = None
                             ) -> tuple[list[dict[str, Any]], Optional[str]]:
        """A page of records, and the next page's cursor."""
        page = await self.json("GET", "/v1/sandbox",
                               params={"limit": limit, "cursor": cursor},
                               operation="sandbox.list")

        return page["sandboxes"], page["cursor"]


def sandbox_path(sandbox_id: str, rest: str = "") -> str:
    return f"/v1/sandbox/{quote(sandbox_id, safe='')}{rest}"
