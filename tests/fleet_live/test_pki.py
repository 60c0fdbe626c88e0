"""The region's authority and who is who by its certificates."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from evenkeel.adapters import pki
from evenkeel.adapters.droplet_manager.joining import Register
from evenkeel.adapters.links.sessions import Party
from evenkeel.model.errors import InputError, Refusal
from tests.fleet_live.authorities import Pki


def test_the_authority_is_made_once_however_many_ask_and_its_key_is_nobody_elses(tmp_path: Path) -> None:
    made: list[pki.Authority] = []
    threads = [threading.Thread(target=lambda: made.append(pki.Authority.at(tmp_path, "small"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.certificate.serial_number for each in made}) == 1
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    pki.Authority.at(tmp_path, "small")
    (tmp_path / "ca.key").chmod(0o640)
    with pytest.raises(InputError, match="other users may read it"):
        pki.Authority.at(tmp_path, "small")


def test_an_authority_that_is_not_there_yet_is_told_by_its_own_name(tmp_path: Path) -> None:
    credentials = pki.Credentials.at(tmp_path / "host", tmp_path / "authority" / "ca.pem")
    credentials.request()
    with pytest.raises(InputError, match=r"ca\.pem: cannot be used(.|\n)*first start of a manager"):
        pki.host_context(credentials, is_joining=True)


def test_a_certificate_says_who_its_holder_is_and_nothing_that_the_request_claimed(tmp_path: Path) -> None:
    world = Pki(tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    claimed = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "manager-a")])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(claimed)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier("evenkeel://small/manager/a")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    identity = pki.Identity("small", pki.Role.HOST, "a-1")
    issued = world.authority.issue(request.public_bytes(serialization.Encoding.PEM), identity)
    assert pki.verified_identity(issued, world.authority.certificate)[0] == identity
    usage = pki.load_certificate(issued).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize("garbage", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\n", b"\0" * 100, b"x" * 100_000])
def test_what_is_no_signing_request_is_refused(tmp_path: Path, garbage: bytes) -> None:
    with pytest.raises(Refusal):
        Pki(tmp_path).authority.issue(garbage, pki.Identity("small", pki.Role.HOST, "a-1"))


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    with pytest.raises(Refusal, match="P-256"):
        Pki(tmp_path).authority.issue(
            request.public_bytes(serialization.Encoding.PEM), pki.Identity("small", pki.Role.HOST, "a-1")
        )


def test_a_certificate_is_good_for_a_clock_that_is_an_hour_off_and_due_in_time(tmp_path: Path) -> None:
    world = Pki(tmp_path)
    credentials = pki.Credentials.at(tmp_path / "a-1", tmp_path / "ca" / "ca.pem")
    assert credentials.is_due()
    identity = pki.Identity("small", pki.Role.HOST, "a-1")
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    credentials.accept(world.authority.issue(credentials.request(), identity, in_an_hour))
    certificate = credentials.load_certificate()
    assert certificate.not_valid_before_utc < datetime.now(UTC) < certificate.not_valid_after_utc
    assert not credentials.is_due()
    assert credentials.is_due(certificate.not_valid_after_utc - pki.RENEW_BEFORE / 2)


def test_a_certificate_for_another_key_is_not_accepted(tmp_path: Path) -> None:
    world = Pki(tmp_path)
    other = world.host("a-2").certificate.read_bytes()
    credentials = pki.Credentials.at(tmp_path / "a-1", tmp_path / "ca" / "ca.pem")
    credentials.request()
    with pytest.raises(Refusal, match="another key"):
        credentials.accept(other)


@pytest.mark.parametrize(
    "uri", ["", "evenkeel://small/host/", "evenkeel://small/root/a", "evenkeel://small/host/a/b", "spiffe://x/host/a-1"]
)
def test_a_uri_that_names_nobody_is_nobodys(uri: str) -> None:
    assert pki.identity_in(uri) is None


def test_the_first_key_under_a_name_keeps_it_through_renewals_until_an_operator_says_otherwise(tmp_path: Path) -> None:
    register = Register(tmp_path)
    register.claim("a-1", "key-1")
    register.claim("a-1", "key-1")
    with pytest.raises(Refusal, match="--readmit"):
        register.claim("a-1", "key-2")
    assert register.forget("a-1")
    assert not register.forget("a-1")
    register.claim("a-1", "key-2")


# --- sessions over a carrier that is not trusted ----------------------------------------------------


def test_a_session_opens_what_its_peer_sealed_once_and_nothing_else(tmp_path: Path) -> None:
    world = Pki(tmp_path)
    host, manager = Party(world.host("a-1")), Party(world.manager("a"))
    opening, share = host.open()
    answer, at_manager = manager.answer(opening)
    at_host = host.finish(opening, share, answer, pki.Identity("small", pki.Role.MANAGER, "a"))
    assert at_manager.peer == pki.Identity("small", pki.Role.HOST, "a-1")
    assert not at_manager.is_confirmed, "an opening can be replayed; only its keys' holder can go on"
    first, second = at_host.seal(b"first"), at_host.seal(b"second")
    assert at_manager.open(first) == b"first"
    assert at_manager.is_confirmed
    assert at_manager.open(second) == b"second"
    for bad in (first, second, at_manager.seal(b"sent back"), type(first)(first.session, 9, first.box)):
        with pytest.raises(Refusal):
            at_manager.open(bad)
    third = at_host.seal(b"third")
    altered = type(third)(third.session, third.number, bytes([third.box[0] ^ 1]) + third.box[1:])
    with pytest.raises(Refusal, match="forged"):
        at_manager.open(altered)
    assert at_manager.open(third) == b"third", "what was forged before it does not keep it out"


def test_a_replayed_opening_makes_other_keys(tmp_path: Path) -> None:
    world = Pki(tmp_path)
    host, manager = Party(world.host("a-1")), Party(world.manager("a"))
    opening, share = host.open()
    answer, _ = manager.answer(opening)
    at_host = host.finish(opening, share, answer, pki.Identity("small", pki.Role.MANAGER, "a"))
    _, replayed = manager.answer(opening)
    with pytest.raises(Refusal, match="forged"):
        replayed.open(at_host.seal(b"recorded and sent again"))
    assert not replayed.is_confirmed


def test_an_answer_of_a_host_or_of_another_azs_manager_is_refused(tmp_path: Path) -> None:
    world = Pki(tmp_path)
    host = Party(world.host("a-1"))
    opening, share = host.open()
    for usurper in (Party(world.host("a-2")), Party(world.manager("b"))):
        answer, _ = usurper.answer(opening)
        with pytest.raises(Refusal, match="not by"):
            host.finish(opening, share, answer, pki.Identity("small", pki.Role.MANAGER, "a"))
