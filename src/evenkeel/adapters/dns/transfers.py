"""One zone transfer from a real server, over a connection of its own, into a stage of the view."""

from __future__ import annotations

import asyncio
import secrets

from evenkeel.adapters.dns.failures import KeyRejected, ServerRefused
from evenkeel.adapters.dns.line import Line
from evenkeel.adapters.dns.settings import ClientSettings
from evenkeel.adapters.dns.view import Stage, ZoneView
from evenkeel.model.errors import Unreachable
from evenkeel.wire.names import Malformed
from evenkeel.wire.transfer import Kind, TransferReader, TransferRefused, encode_transfer_query
from evenkeel.wire.tsig import StreamVerifier, TsigFailure, sign


class TransferFailed(Unreachable):
    """A transfer that broke off, or was not sound. The view stays as it was."""


async def transfer(line: Line, view: ZoneView, settings: ClientSettings) -> Kind:
    """Bring `view` to the server's serial, by differences where it can. Raises `Unreachable` and its kin."""
    kind = await _transfer(line, view, settings, None if view.serial < 0 else view.serial)
    if kind is Kind.ROLLED_BACK:
        kind = await _transfer(line, view, settings, None)
    return kind


async def _transfer(line: Line, view: ZoneView, settings: ClientSettings, since: int | None) -> Kind:
    stage = view.stage(whole=since is None)
    try:
        async with asyncio.timeout(settings.transfer_deadline_s):
            async with asyncio.timeout(settings.connect_deadline_s):
                reader, writer = await asyncio.open_connection(line.server.host, line.server.port)
            try:
                return await _exchange(line, view, stage, settings, since, reader, writer)
            finally:
                writer.transport.abort()
    except (OSError, EOFError, TimeoutError) as error:
        raise TransferFailed(f"transfer of {view.zone} from {line.server}: {error!r}") from error
    except TransferRefused as error:
        raise ServerRefused(error.rcode, f"transfer of {view.zone} from {line.server}") from error
    except TsigFailure as error:
        if error.tsig is not None and error.tsig.error == error.error:
            what = f"transfer of {view.zone} from {line.server}"
            raise KeyRejected(error.error, line.key.name, what) from error
        raise TransferFailed(f"transfer of {view.zone} from {line.server}: {error}") from error
    except Malformed as error:
        raise TransferFailed(f"transfer of {view.zone} from {line.server}: {error}") from error


async def _exchange(
    line: Line,
    view: ZoneView,
    stage: Stage,
    settings: ClientSettings,
    since: int | None,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> Kind:
    message_id = secrets.randbelow(1 << 16)
    query = encode_transfer_query(message_id, view.zone, since)
    signed, mac = sign(query, line.key, int(line.clock.now_s()))
    writer.write(len(signed).to_bytes(2, "big") + signed)
    verifier = StreamVerifier(line.key, mac)
    parser = TransferReader(message_id, view.zone, since)
    is_first = True
    while not parser.done or verifier.pending:
        async with asyncio.timeout(settings.transfer_silence_s):
            frame = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        if is_first:
            _see_refusal(frame, view.zone)
        steps = parser.feed(verifier.feed(frame, int(line.clock.now_s())))
        is_first = False
        if parser.kind is Kind.WHOLE:
            stage.as_whole()
        for step in steps:
            stage.record(step.added, step.name, step.type, step.text)
        await asyncio.sleep(0)  # a long transfer lets others have the loop between its messages
    if parser.kind is Kind.UP_TO_DATE:
        view.confirm(stage.covered)
    elif parser.kind is not Kind.ROLLED_BACK:
        stage.finish(parser.serial)
    return parser.kind


def _see_refusal(frame: bytes, zone: str) -> None:
    """A server that has no such key, or may not say, refuses without a signature: tell that from a forgery."""
    if len(frame) >= 12 and frame[3] & 0xF and int.from_bytes(frame[10:12], "big") == 0:
        raise TransferRefused(frame[3] & 0xF, zone)
