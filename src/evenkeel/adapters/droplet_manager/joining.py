"""How a host comes into the inventory: a token shows that it may, its own key is who it is from then on.

The first key that joins under a name keeps it: its fingerprint is written down, exclusively, before any certificate is
issued. So the token alone, once it leaks, makes new hosts, but takes over none that is there.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from evenkeel.adapters import pki
from evenkeel.adapters.fleet_messages import JoinReply, JoinRequest
from evenkeel.model.errors import Refusal
from evenkeel.model.fleet import Host

CPUS_MAX = 4096
MEMORY_MIB_MAX = 2**26


class Register:
    """Which key speaks for which host: one file a host, made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def claim(self, host: str, fingerprint: str) -> None:
        """Raises `Refusal` where the name is another key's already, `OSError` where it cannot be written."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / host
        try:
            draft = self._folder / f".{host}.{os.getpid()}"
            pki.write_whole(draft, fingerprint.encode(), 0o600)
            try:
                os.link(draft, path)
            finally:
                draft.unlink()
        except FileExistsError:
            if not hmac.compare_digest(path.read_text(encoding="ascii"), fingerprint):
                raise Refusal(
                    f"host {host} has joined with another key; if that one is lost: evenkeel hosts --readmit {host}"
                ) from None

    def forget(self, host: str) -> bool:
        """Let the next key that joins under this name have it. Whether there was one."""
        try:
            (self._folder / host).unlink()
        except FileNotFoundError:
            return False
        return True


class Joining:
    """`links.base.OnJoin` of one az."""

    def __init__(
        self,
        authority: pki.Authority,
        register: Register,
        region: str,
        az: str,
        token: str,
        is_of_az: Callable[[str], bool],
        add: Callable[[Host], Awaitable[Host]],
    ) -> None:
        self._authority, self._register = authority, register
        self._region, self._az, self._token = region, az, token
        self._is_of_az, self._add = is_of_az, add

    async def __call__(self, frame: bytes) -> bytes:
        """The reply to a newcomer. Raises `Refusal` without one for who has no token, else as the store does."""
        try:
            request = msgspec.msgpack.decode(frame, type=JoinRequest)
        except msgspec.MsgspecError as error:
            raise Refusal(f"no request to join: {error}") from error
        if not hmac.compare_digest(request.token.encode(), self._token.encode()):
            raise Refusal("the join token is not this region's")
        try:
            certificate = await self._joined(request)
        except Refusal as refusal:
            return msgspec.msgpack.encode(JoinReply(refused=str(refusal)))
        return msgspec.msgpack.encode(JoinReply(certificate))

    async def _joined(self, request: JoinRequest) -> bytes:
        if not pki.is_name(request.host) or not self._is_of_az(request.host):
            raise Refusal(f"{request.host!r:.100} is no name for a host of az {self._az}: write {self._az}-1, say")
        if not (0 < request.cpus <= CPUS_MAX and 0 < request.memory_mib <= MEMORY_MIB_MAX):
            raise Refusal(f"a host of {request.cpus} cpus and {request.memory_mib} MiB is none")
        key = pki.fingerprint(pki.load_request(request.request))
        self._register.claim(request.host, key)
        host = await self._add(Host(0, request.host, self._az, request.cpus, request.memory_mib))
        return self._authority.issue(request.request, pki.Identity(self._region, pki.Role.HOST, host.name))
