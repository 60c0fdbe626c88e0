"""The launch API: run, describe and terminate instances over HTTP, with the semantics that clouds have taught people.

- A launch is all or nothing, in one az. Its `client_token` makes it harmless to repeat: the same instances come back.
- Errors are `{"error": {"code", "message", ...}}`. `InsufficientCapacity` is said when the fleet is whole and full, and
  never of hosts that are only waiting for their leases: that is `Recovering`, with an ETA. `RequestLimitExceeded` and
  `Recovering` carry Retry-After (RFC 9110 section 10.2.3).
- An account is who holds its bearer token, and sees its own instances alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from evenkeel.adapters.droplet_manager.control import ManagerView
from evenkeel.api.quotas import Quotas
from evenkeel.api.serving import BoundedBodies, bearer, is_token
from evenkeel.model.errors import EvenkeelError, Refusal, StoreUnwritable, Unreachable
from evenkeel.model.fleet import (
    Instance,
    InstanceSpec,
    InstanceState,
    InsufficientCapacity,
    Launched,
    LaunchOutcome,
    LaunchRequest,
    Recovering,
    RequestLimitExceeded,
)
from evenkeel.model.region import LaunchLimits
from evenkeel.ports.fleet import LeaseStore

BODY_OCTETS_MAX = 16 * 1024
RETRY_AFTER_UNKNOWN_S = 10.0
RETRY_AFTER_MAX_S = 600.0
KINDS = ("web",)
_TOKEN = r"^[A-Za-z0-9._:-]{1,64}$"  # noqa: S105 - the form of a launch's token
_NAME = r"^i-[0-9a-z]{1,40}$"


class Manager(Protocol):
    """What the API needs of an az's manager. Raises `Unreachable`, `Refusal`."""

    async def launch(self, request: LaunchRequest) -> LaunchOutcome: ...

    async def stopped(self, instance: str) -> None: ...

    async def status(self) -> ManagerView: ...


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class RunInstances(_Shape):
    """What to launch."""

    kind: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$", description="what the instances run")] = "web"
    cpus: Annotated[int, Field(ge=1, le=4096)] = 1
    memory_mib: Annotated[int, Field(ge=1, le=2**26)] = 128
    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    az: Annotated[str, Field(max_length=40, description="empty: wherever there is room")] = ""
    client_token: Annotated[str, Field(pattern=_TOKEN, description="repeat a launch under it without harm")] | None = (
        None
    )


class InstanceView(_Shape):
    """One instance. `address` is where it answers HTTP, once it runs."""

    instance: str
    state: InstanceState
    az: str
    host: str
    kind: str
    cpus: int
    memory_mib: int
    address: str
    client_token: str


class InstanceList(_Shape):
    instances: list[InstanceView]


class AzView(_Shape):
    """How an az's fleet stands; `eta_s` is -1 where it is not known."""

    az: str
    reachable: bool
    hosts: int = 0
    leased: int = 0
    eta_s: float = -1.0
    x_bound: float = 0.0
    store_lost: bool = False


class FleetView(_Shape):
    azs: list[AzView]


class Fault(Exception):
    """What is answered in place of a result."""

    def __init__(
        self, status: int, code: str, message: str, retry_after_s: float | None = None, **more: object
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.more = status, code, message, more
        self.retry_after_s = retry_after_s


class LaunchDesk:
    """What the routes do, without HTTP."""

    def __init__(
        self,
        store: LeaseStore,
        managers: Mapping[str, Manager],
        limits: LaunchLimits,
        clock: Callable[[], float],
        counts: Counter[str],
    ) -> None:
        self._store, self._managers, self._limits = store, managers, limits
        self._clock, self.counts = clock, counts
        self._launches = Quotas(limits.launches_per_s, limits.launches_burst)
        self._reads = Quotas(limits.reads_per_s, 2 * limits.reads_per_s)

    async def run(self, account: str, asked: RunInstances) -> list[InstanceView]:
        """Launch. Raises `Fault`."""
        request = self._checked(account, asked)
        self._spend(self._launches, account, request.count)
        outcome = await self._launch(request)
        self.counts[type(outcome).__name__] += 1
        if isinstance(outcome, Launched):
            return [_view(each) for each in _same_launch(request, outcome.instances)]
        raise _fault_of(outcome)

    def _checked(self, account: str, asked: RunInstances) -> LaunchRequest:
        if asked.kind not in KINDS:
            raise Fault(400, "InvalidParameter", f"kind {asked.kind!r} is not known here: use {', '.join(KINDS)}")
        if asked.count > self._limits.count_max:
            raise Fault(400, "InvalidParameter", f"{asked.count} instances: at most {self._limits.count_max} at once")
        if asked.az and asked.az not in self._managers:
            known = ", ".join(self._managers)
            raise Fault(400, "InvalidParameter", f"{asked.az!r} is no az of this region: use one of {known}")
        token = asked.client_token or secrets.token_hex(16)
        return LaunchRequest(
            account, token, InstanceSpec(asked.kind, asked.cpus, asked.memory_mib), asked.az, asked.count
        )

    async def _launch(self, request: LaunchRequest) -> LaunchOutcome:
        """In the az that is asked for, else in the first that has room, the most whole one first."""
        azs = [request.az] if request.az else await self._by_wholeness()
        refused: list[LaunchOutcome] = []
        trouble: EvenkeelError | None = None
        for az in azs:
            try:
                outcome = await self._managers[az].launch(request)
            except Refusal as error:
                raise Fault(409, "Refused", str(error)) from error
            except EvenkeelError as error:
                trouble = error
                continue
            if isinstance(outcome, Launched):
                return outcome
            refused.append(outcome)
        if all(isinstance(each, InsufficientCapacity) for each in refused) and (trouble is not None or not refused):
            # Some az did not say: it may have room, and may even have launched.
            raise _unavailable(trouble or Unreachable("no manager answers"))
        return _kindest(refused)

    async def _by_wholeness(self) -> list[str]:
        views = await asyncio.gather(*(self._az(az) for az in self._managers))
        ranked = sorted(views, key=lambda each: (not each.reachable, -each.leased / max(each.hosts, 1), -each.leased))
        return [each.az for each in ranked]

    async def described(self, account: str, az: str, state: InstanceState | None) -> list[InstanceView]:
        self._spend(self._reads, account, 1)
        try:
            found = await self._store.instances(az, account)
        except EvenkeelError as error:
            raise _unavailable(error) from error
        return [_view(each) for each in found if state is None or each.state is state]

    async def terminated(self, account: str, instance: str) -> InstanceView:
        """Terminate; a repetition finds it terminated, or on its way there."""
        self._spend(self._reads, account, 1)
        try:
            found = await self._store.ask_to_stop(account, instance)
        except EvenkeelError as error:
            raise _unavailable(error) from error
        if found is None:
            raise Fault(404, "NotFound", f"account {account} has no instance {instance}")
        # Recorded: a manager that cannot be told finds it when it next reads the records.
        with contextlib.suppress(EvenkeelError, KeyError):
            await self._managers[found.az].stopped(instance)
        return _view(found)

    async def fleet(self, account: str) -> FleetView:
        self._spend(self._reads, account, 1)
        return FleetView(azs=list(await asyncio.gather(*(self._az(az) for az in self._managers))))

    async def _az(self, az: str) -> AzView:
        try:
            fleet = (await self._managers[az].status()).fleet
        except EvenkeelError:
            return AzView(az=az, reachable=False)
        return AzView(
            az=az,
            reachable=True,
            hosts=fleet.hosts,
            leased=fleet.leased,
            eta_s=fleet.eta_s,
            x_bound=fleet.x_bound,
            store_lost=fleet.store_is_lost,
        )

    def _spend(self, quotas: Quotas, account: str, amount: float) -> None:
        retry_after_s = quotas.take(account, amount, self._clock())
        if retry_after_s:
            self.counts["throttled"] += 1
            raise _fault_of(RequestLimitExceeded(retry_after_s))


def _same_launch(request: LaunchRequest, got: tuple[Instance, ...]) -> tuple[Instance, ...]:
    """Raises `Fault` where the token was used before, for something else."""
    if len(got) != request.count or any(each.spec != request.spec for each in got):
        what = "the client token was used before, for another launch; use a new one"
        raise Fault(409, "IdempotentParameterMismatch", what)
    return got


def _kindest(refused: list[LaunchOutcome]) -> LaunchOutcome:
    """Of several azs' refusals the one that gives most hope: soonest recovered, soonest worth a try, else no room."""
    recovering = [each for each in refused if isinstance(each, Recovering)]
    if recovering:
        return min(recovering, key=lambda each: each.eta_s if each.eta_s >= 0 else math.inf)
    limited = [each for each in refused if isinstance(each, RequestLimitExceeded)]
    if limited:
        return min(limited, key=lambda each: each.retry_after_s)
    return max((each for each in refused if isinstance(each, InsufficientCapacity)), key=lambda each: each.room)


def _fault_of(outcome: LaunchOutcome) -> Fault:
    match outcome:
        case InsufficientCapacity():
            what = f"no az has room for all {outcome.asked}; at best for {outcome.room}, in az {outcome.az}"
            return Fault(409, "InsufficientCapacity", what, az=outcome.az, asked=outcome.asked, room=outcome.room)
        case Recovering():
            is_known = outcome.eta_s >= 0
            eta = f"ETA {outcome.eta_s:.0f} s" if is_known else "ETA not known: the store does not answer"
            what = f"az {outcome.az} is recovering: {outcome.leased} of {outcome.hosts} hosts are leased, {eta}"
            after_s = min(max(outcome.eta_s, 1.0), RETRY_AFTER_MAX_S) if is_known else RETRY_AFTER_UNKNOWN_S
            eta_s = outcome.eta_s if is_known else None
            return Fault(503, "Recovering", what, after_s, az=outcome.az, eta_s=eta_s)
        case RequestLimitExceeded():
            what = f"request limit exceeded; try again in {outcome.retry_after_s:.1f} s"
            return Fault(429, "RequestLimitExceeded", what, outcome.retry_after_s)
        case Launched():
            raise AssertionError("a launch that was done is no fault")


def _unavailable(error: EvenkeelError) -> Fault:
    if isinstance(error, Unreachable | StoreUnwritable):
        return Fault(503, "Unavailable", str(error), RETRY_AFTER_UNKNOWN_S)
    return Fault(500, "InternalError", str(error))


def _view(each: Instance) -> InstanceView:
    return InstanceView(
        instance=each.instance,
        state=each.state,
        az=each.az,
        host=each.host,
        kind=each.spec.kind,
        cpus=each.spec.cpus,
        memory_mib=each.spec.memory_mib,
        address=each.address if each.state is InstanceState.RUNNING else "",
        client_token=each.token,
    )


# --- HTTP -------------------------------------------------------------------------------------------


async def _account(request: Request) -> str:
    presented = bearer(request)
    # Every token is compared, so that the time tells nothing about which came near.
    matching = [name for name, token in request.app.state.tokens.items() if is_token(presented, token)]
    if not presented or not matching:
        request.app.state.counts["unauthorized"] += 1
        raise Fault(401, "Unauthorized", "the bearer token is no account's")
    return str(matching[0])


Account = Annotated[str, Depends(_account)]


def launches_app(desk: LaunchDesk, tokens: Mapping[str, str]) -> FastAPI:
    """The application. `tokens` are the accounts' bearer tokens, by account."""
    app = FastAPI(title="evenkeel launch API", version="1", description=__doc__, docs_url=None, redoc_url=None)
    app.add_middleware(BoundedBodies, octets_max=BODY_OCTETS_MAX)

    app.state.tokens, app.state.counts = dict(tokens), desk.counts

    @app.post("/v1/instances", summary="RunInstances")
    async def run_instances(asked: RunInstances, account: Account) -> InstanceList:
        return InstanceList(instances=await desk.run(account, asked))

    @app.get("/v1/instances", summary="DescribeInstances")
    async def describe_instances(
        account: Account, az: Annotated[str, Query(max_length=40)] = "", state: InstanceState | None = None
    ) -> InstanceList:
        return InstanceList(instances=await desk.described(account, az, state))

    @app.delete("/v1/instances/{instance}", summary="TerminateInstances")
    async def terminate_instance(instance: Annotated[str, Field(pattern=_NAME)], account: Account) -> InstanceView:
        return await desk.terminated(account, instance)

    @app.get("/v1/fleet", summary="How every az's fleet stands")
    async def describe_fleet(account: Account) -> FleetView:
        return await desk.fleet(account)

    @app.get("/health", summary="200 while the process turns", include_in_schema=False)
    async def health() -> dict[str, bool]:
        return {"ok": True}

    app.add_exception_handler(Fault, _as_reply)
    app.add_exception_handler(RequestValidationError, _as_bad_request)
    app.add_exception_handler(HTTPException, _as_told)
    return app


async def _as_reply(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Fault):
        raise error
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _reply(error.status, error.code, error.message, headers, **error.more)


async def _as_bad_request(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    told = [f"{'.'.join(map(str, each['loc'][1:])) or 'body'}: {each['msg']}" for each in error.errors()[:8]]
    return _reply(400, "InvalidParameter", "; ".join(told), {})


async def _as_told(request: Request, error: Exception) -> JSONResponse:
    """What the framework refuses by itself, in the form of all other errors."""
    if not isinstance(error, HTTPException):
        raise error
    code = {400: "InvalidParameter", 404: "NotFound", 405: "MethodNotAllowed"}.get(error.status_code, "Refused")
    return _reply(error.status_code, code, str(error.detail), {})


def _reply(status: int, code: str, message: str, headers: dict[str, str], **more: Any) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message, **more}}, status, headers)
