"""The table service's front end: `ports.fleet.LeaseStore` over HTTP, for managers and the launch API.

Front ends are alike and keep nothing: any of them serves any call over the one store behind them. `/health` is what
vantage points probe: it asks the store, so a front end whose store is gone leaves the endpoint's answer.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response

from evenkeel.adapters.table_service.wire import (
    CALLS,
    MEDIA_TYPE,
    PREFIX,
    REQUEST_OCTETS_MAX,
    Call,
    status_of,
    trouble_of,
)
from evenkeel.api.serving import TooLarge, bearer, bounded_body, is_token
from evenkeel.model.errors import EvenkeelError, Refusal
from evenkeel.ports.fleet import LeaseStore


def tables_app(store: LeaseStore, token: str, name: str, counts: Counter[str]) -> FastAPI:
    """The application. `counts` gets every call by name, and every trouble by kind."""
    app = FastAPI(title="evenkeel table service", version="1", docs_url=None, redoc_url=None)

    @app.get("/health", summary="200 while the store behind this front end answers")
    async def health() -> Response:
        try:
            await store.tenure("")
        except EvenkeelError as error:
            return Response(f"{name}: {error}\n", 503, media_type="text/plain")
        return Response(f"{name}: ready\n", media_type="text/plain")

    for call_name, call in CALLS.items():
        _add(app, store, token, call_name, call, counts)
    return app


def _add(app: FastAPI, store: LeaseStore, token: str, name: str, call: Call, counts: Counter[str]) -> None:
    method = getattr(store, name)

    async def answer(request: Request) -> Response:
        if not is_token(bearer(request), token):
            counts["unauthorized"] += 1
            return _trouble(401, Refusal("the token is not the table service's"))
        try:
            arguments = msgspec.msgpack.decode(await bounded_body(request, REQUEST_OCTETS_MAX), type=call.arguments)
            result: Any = await method(*arguments)
        except TooLarge:
            return _trouble(413, Refusal(f"{name}: more than {REQUEST_OCTETS_MAX} octets"))
        except msgspec.MsgspecError as error:
            return _trouble(400, Refusal(f"{name}: {error}"))
        except EvenkeelError as error:
            counts[type(error).__name__] += 1
            return _trouble(status_of(error), error)
        counts[name] += 1
        return Response(msgspec.msgpack.encode(result), media_type=MEDIA_TYPE)

    summary = (call.method.__doc__ or name).split("\n\n")[0].split(". ")[0].strip()
    app.post(PREFIX + name, name=name, summary=" ".join(summary.split()))(answer)


def _trouble(status: int, error: EvenkeelError) -> Response:
    return Response(trouble_of(error), status, media_type=MEDIA_TYPE)
