"""What every request passes: the key, the counters, and one form of error. Plain ASGI, since it is on every path."""

import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from anomalybench.service.metrics import Metrics
from anomalybench.service.web import JSONResponse, Request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json")
"""Paths that need no key: probes send none, and the description holds no data."""


class Access:
    """Lets requests with the right key pass, and counts all of them.

    Args:
        app: The application.
        key: What requests must carry, as `X-API-Key` or as a bearer token; None for none.
        metrics: The counters.
    """

    def __init__(self, app: App, key: str | None, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._key is None or scope["path"] in OPEN or self._carries_key(scope):
                await self._app(scope, receive, counted)
            else:
                self._metrics.rejected.labels("api_key").inc()
                await _no_key()(scope, receive, counted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
            self._metrics.requests.labels(route, method, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - begun)

    def _carries_key(self, scope: Scope) -> bool:
        headers = Request(scope).headers
        given = headers.get("x-api-key")
        if given is None:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            given = token.strip() if scheme.lower() == "bearer" else ""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._key or b"")


def _no_key() -> JSONResponse:
    text = "this service needs its key, as the header X-API-Key or as Authorization: Bearer."
    return JSONResponse({"error": text}, 401, headers={"WWW-Authenticate": "Bearer"})
