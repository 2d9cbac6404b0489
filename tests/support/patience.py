"""Clients of the management API that wait when they are told to."""

import asyncio
import time

import httpx

_WAITS_MAX = 100


class PatientTransport(httpx.HTTPTransport):
    """Sends a request again, once its ``Retry-After`` is over, when it was one too many (429)."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(_WAITS_MAX):
            response = super().handle_request(request)
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            response.close()
            time.sleep(float(response.headers["retry-after"]))
        return response


class AsyncPatientTransport(httpx.AsyncHTTPTransport):
    """As ``PatientTransport``, for asynchronous clients."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(_WAITS_MAX):
            response = await super().handle_async_request(request)
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            await response.aclose()
            await asyncio.sleep(float(response.headers["retry-after"]))
        return response
