"""What the service uses of the extra `serve`, in one place, which says how to install it where it is missing."""

from enum import Enum

from anomalybench.core.errors import UsageError

try:
    import uvicorn
    from fastapi import FastAPI, Path, Query, Request, Response, Security
    from fastapi.exceptions import HTTPException, RequestValidationError
    from fastapi.responses import JSONResponse, RedirectResponse
    from fastapi.security import APIKeyHeader, HTTPBearer
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header
except ImportError as error:
    raise UsageError(
        f"the service needs packages that are not installed ({error.name}): pip install 'anomalybench-vision[serve]'."
    ) from None

Tags = list[str | Enum]
"""Groups of routes on the OpenAPI page."""
__all__ = [
    "CONTENT_TYPE_LATEST", "APIKeyHeader", "CollectorRegistry", "Counter", "FastAPI",
    "FormParserError", "Gauge", "HTTPBearer", "HTTPException", "Histogram", "JSONResponse", "MultipartParser", "Path",
    "ProcessCollector", "Query", "RedirectResponse", "Request", "RequestValidationError", "Response", "Security",
    "Tags", "generate_latest", "parse_options_header", "uvicorn",
]  # fmt: skip
