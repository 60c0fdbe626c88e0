"""Agent links over a NATS server: hosts that cannot reach their manager, but can reach a broker.

Host `a-1` of az `a` publishes at `evenkeel.<region>.a.up.a-1` and listens at `evenkeel.<region>.a.down.a-1`; the
manager listens at `evenkeel.<region>.a.up.*`. The broker carries `sessions` and is trusted with nothing but delivery.
A manager that was restarted answers what it cannot open with `Unknown`, and the host opens a new session.

Newcomers join over TCP (`links.tcp.ask_to_join`): a join token is not a thing to hand to a broker.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque

import msgspec
import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from evenkeel.adapters import pki
from evenkeel.adapters.frames import LinkClosed
from evenkeel.adapters.links.base import DOWN_OCTETS_MAX, UP_OCTETS_MAX, Allowance, OnFrames, OnLinked
from evenkeel.adapters.links.sessions import Answer, Message, Opening, Party, Sealed, Session, Unknown
from evenkeel.model.errors import InputError, Refusal, Unreachable

CONNECT_DEADLINE_S = 5.0
OPEN_DEADLINE_S = 5.0
PENDING_OCTETS_MAX = 64 * 1024 * 1024  # what the client library may hold for the broker, and of the broker's
SESSIONS_MAX = 200_000
OPENINGS_PER_S = 500  # each costs a few signatures, and anybody may ask
RECEIVED_MAX = 1024
_SEAL_OCTETS = 256  # what sealing adds at most


def subject(region: str, az: str, direction: str, host: str) -> str:
    """Where frames of one host travel; `*` for `host` means all."""
    return f"evenkeel.{region}.{az}.{direction}.{host}"


async def _connected(url: str) -> Client:
    # The module takes the whole address from region.toml, credentials included, so a message must not repeat it.
    try:
        async with asyncio.timeout(CONNECT_DEADLINE_S):
            return await nats.connect(
                url,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.5,
                ping_interval=10,
                pending_size=PENDING_OCTETS_MAX,
                error_cb=_ignore,
            )
    except (OSError, TimeoutError, nats.errors.Error) as error:
        raise Unreachable(f"the NATS server: {error!r}") from error


async def _settled(client: Client) -> None:
    """Returns once the broker has taken in what it was told. Raises `Unreachable`."""
    try:
        await client.flush(timeout=int(CONNECT_DEADLINE_S))
    except (OSError, TimeoutError, nats.errors.Error) as error:
        raise Unreachable(f"the NATS server: {error!r}") from error


async def _ignore(error: Exception) -> None:
    """The library tells of every failed attempt to reconnect; links tell once what it means for them."""


class NatsManagerLinks:
    """`base.ManagerLinks`."""

    def __init__(
        self,
        url: str,
        credentials: pki.Credentials,
        region: str,
        az: str,
        *,
        on_frames: OnFrames,
        on_linked: OnLinked = lambda host, is_up: None,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self._url, self._region, self._az = url, region, az
        self._party = Party(credentials)
        self._on_frames, self._on_linked = on_frames, on_linked
        self._sessions: dict[str, Session] = {}
        self._opened: dict[str, Session] = {}  # not confirmed yet
        self._allowances: dict[str, Allowance] = {}
        self._openings_left = float(OPENINGS_PER_S)
        self._openings_at_s = 0.0
        self._client: Client | None = None
        self._outbound: deque[tuple[str, bytes]] = deque()
        self._has_outbound = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    @property
    def linked(self) -> int:
        return len(self._sessions)

    async def start(self) -> None:
        self._client = await _connected(self._url)
        await self._client.subscribe(
            subject(self._region, self._az, "up", "*"), cb=self._take, pending_bytes_limit=PENDING_OCTETS_MAX
        )
        await _settled(self._client)
        self._sending = asyncio.create_task(self._keep_sending(self._client))

    async def stop(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    def send(self, host: str, frame: bytes) -> bool:
        session = self._sessions.get(host)
        if session is None or len(frame) > DOWN_OCTETS_MAX or len(self._outbound) >= SESSIONS_MAX:
            return False
        self._queue(host, session.seal(frame))
        return True

    def is_linked(self, host: str) -> bool:
        return host in self._sessions

    def drop(self, host: str) -> None:
        session = self._sessions.pop(host, None)
        if session is not None:
            self._queue(host, Unknown(session.id))
            self._on_linked(host, False)

    async def _take(self, got: Msg) -> None:
        host = got.subject.rpartition(".")[2]
        try:
            if len(got.data) > UP_OCTETS_MAX + _SEAL_OCTETS:
                raise Refusal("a frame too large")
            message = msgspec.msgpack.decode(got.data, type=Message)
            if isinstance(message, Opening):
                self._open(host, message)
            elif isinstance(message, Sealed):
                self._unseal(host, message)
            else:
                raise Refusal("not a host's to say")
        except msgspec.MsgspecError:
            self.refused["not a frame"] += 1
        except Refusal as refusal:
            self.refused[str(refusal)] += 1

    def _open(self, host: str, opening: Opening) -> None:
        if not self._may_open() or len(self._opened) >= SESSIONS_MAX:
            raise Refusal("too many openings")
        answer, session = self._party.answer(opening)
        if session.peer != pki.Identity(self._region, pki.Role.HOST, host):
            raise Refusal("another's name")
        self._opened[host] = session
        self._queue(host, answer)

    def _may_open(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        refilled = self._openings_left + (now_s - self._openings_at_s) * OPENINGS_PER_S
        self._openings_left, self._openings_at_s = min(refilled, OPENINGS_PER_S) - 1, now_s
        if self._openings_left < 0:
            self._openings_left = 0
            return False
        return True

    def _unseal(self, host: str, sealed: Sealed) -> None:
        session = self._sessions.get(host)
        if session is None or session.id != sealed.session:
            session = self._opened.get(host)
            if session is None or session.id != sealed.session:
                if pki.is_name(host):
                    self._queue(host, Unknown(sealed.session))
                raise Refusal("of no session")
        frame = session.open(sealed)
        now_s = asyncio.get_running_loop().time()
        if self._sessions.get(host) is not session:
            self._opened.pop(host, None)
            self._sessions[host] = session
            self._allowances[host] = Allowance(now_s)
            self._on_linked(host, True)
        if not self._allowances[host].takes(1, now_s):
            self.drop(host)
            raise Refusal("too many frames")
        self._on_frames(host, [frame])

    def _queue(self, host: str, message: Message) -> None:
        if len(self._outbound) < SESSIONS_MAX:
            self._outbound.append((host, msgspec.msgpack.encode(message)))
            self._has_outbound.set()

    async def _keep_sending(self, client: Client) -> None:
        while True:
            await self._has_outbound.wait()
            self._has_outbound.clear()
            while self._outbound:
                host, data = self._outbound.popleft()
                with contextlib.suppress(nats.errors.Error):  # lost, as across any break; the host asks again
                    await client.publish(subject(self._region, self._az, "down", host), data)


class NatsAgentLink:
    """`base.AgentLink`; `connect` makes one."""

    def __init__(self, client: Client, up: str) -> None:
        self._client = client
        self._up = up
        self._received: asyncio.Queue[Message] = asyncio.Queue(RECEIVED_MAX)
        self._session: Session | None = None
        self._why = ""

    async def send(self, frame: bytes) -> None:
        if self._session is None or self._why:
            raise LinkClosed(self._why or "the session is not open")
        if len(frame) > UP_OCTETS_MAX:
            raise LinkClosed(f"a frame of {len(frame)} octets is over {UP_OCTETS_MAX}")
        await self._publish(self._session.seal(frame))

    async def receive(self, deadline_s: float) -> bytes | None:
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    if self._why:
                        raise LinkClosed(self._why)
                    frame = self._opened(await self._received.get())
                    if frame is not None:
                        return frame
        except TimeoutError:
            return None

    async def close(self) -> None:
        self._why = self._why or "closed here"
        await self._client.close()

    def _opened(self, message: Message) -> bytes | None:
        """The frame in `message`; None where that is nothing of this session."""
        session = self._session
        if session is None:
            return None
        if isinstance(message, Unknown) and message.session == session.id:
            self._why = "the manager does not know the session any more"
            raise LinkClosed(self._why)
        if isinstance(message, Sealed) and message.session == session.id:
            with contextlib.suppress(Refusal):
                return session.open(message)
        return None

    async def open(self, party: Party, manager: pki.Identity) -> None:
        """Agree on a session. Raises `Unreachable`."""
        opening, share = party.open()
        await self._publish(opening)
        try:
            async with asyncio.timeout(OPEN_DEADLINE_S):
                while self._session is None:
                    message = await self._received.get()
                    if isinstance(message, Answer) and message.opening == opening.nonce:
                        with contextlib.suppress(Refusal):  # forged: the real one may still come
                            self._session = party.finish(opening, share, message, manager)
        except TimeoutError:
            raise Unreachable(f"{manager.uri} did not answer within {OPEN_DEADLINE_S:g} s") from None

    async def take(self, got: Msg) -> None:
        """What the broker delivers."""
        if len(got.data) > DOWN_OCTETS_MAX + _SEAL_OCTETS:
            return
        with contextlib.suppress(msgspec.MsgspecError, asyncio.QueueFull):
            self._received.put_nowait(msgspec.msgpack.decode(got.data, type=Message))

    async def _publish(self, message: Message) -> None:
        try:
            await self._client.publish(self._up, msgspec.msgpack.encode(message))
            await self._client.flush(timeout=int(CONNECT_DEADLINE_S))
        except (OSError, TimeoutError, nats.errors.Error) as error:
            self._why = f"the NATS server: {error!r}"
            raise LinkClosed(self._why) from error


async def connect(url: str, credentials: pki.Credentials, host: pki.Identity, manager: pki.Identity) -> NatsAgentLink:
    """A link of `host` to `manager`. Raises `Unreachable`, `InputError`."""
    if host.role is not pki.Role.HOST:
        raise InputError.one("host", f"{host.uri} is no host", "use a host's certificate")
    client = await _connected(url)
    link = NatsAgentLink(client, subject(host.region, manager.name, "up", host.name))
    try:
        await client.subscribe(subject(host.region, manager.name, "down", host.name), cb=link.take)
        await _settled(client)
        await link.open(Party(credentials), manager)
    except BaseException:
        await client.close()
        raise
    return link
