"""Encrypted calls: the connection goes to an address, the certificate is for the name."""

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backend.outbound.client import OutboundClient, OutboundError
from tests.backend.outbound_builders import LOOPBACK, OK, answering, client, sink

NAME = "hooks.example.com"
_DAY = timedelta(days=1)
# Far on both sides of any day that the tests may run on.
_BEGIN, _END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)


@dataclass
class Authority:
    """Signs the certificates of the tests. ``asked`` are the names that clients have sent (SNI)."""

    directory: Path
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    name: x509.Name = field(
        default_factory=lambda: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Tests")])
    )
    asked: list[str | None] = field(default_factory=list)

    def trusted(self) -> ssl.SSLContext:
        """What a client has that trusts this authority and no other."""
        itself = self._sign(
            self.name, self.key, _END, x509.BasicConstraints(ca=True, path_length=None)
        )
        pem = itself.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def server(self, *names: x509.GeneralName, end: datetime = _END) -> ssl.SSLContext:
        """What a server has whose certificate is for ``names``."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(x509.Name([]), key, end, x509.SubjectAlternativeName(names))
        file = self.directory / "server.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.sni_callback = lambda _, name, __: self.asked.append(name)
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        end: datetime,
        extension: x509.ExtensionType,
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .issuer_name(self.name)
            .subject_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGIN)
            .not_valid_after(end)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self.key, hashes.SHA256())
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def calling(authority: Authority) -> OutboundClient:
    return client(["127.0.0.1"], cidrs=LOOPBACK, allow_http=False, tls=authority.trusted())


@pytest.mark.asyncio
async def test_the_name_is_asked_for_and_certified_though_an_address_is_called(
    authority: Authority,
) -> None:
    server = authority.server(x509.DNSName(NAME))
    async with sink(answering(OK), tls=server) as target:
        answer = await calling(authority).post(target.url(f"{NAME}.", "https"), b"{}", {})
    assert (answer.status, answer.content) == (200, b"ok")
    assert authority.asked == [NAME]
    assert b"\r\nHost: %s:%d\r\n" % (NAME.encode(), target.port) in target.heads[0]


@pytest.mark.asyncio
async def test_an_address_is_certified_as_one(authority: Authority) -> None:
    server = authority.server(x509.IPAddress(ip_address("127.0.0.1")))
    async with sink(answering(OK), tls=server) as target:
        answer = await calling(authority).post(target.url("127.0.0.1", "https"), b"{}", {})
    assert answer.status == 200
    assert authority.asked == [None]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("certified", "end", "host", "reason"),
    [
        (x509.DNSName(NAME), _END, "other.example.com", "Hostname mismatch"),
        (x509.DNSName("*.example.com"), _END, "a.hooks.example.com", "Hostname mismatch"),
        (x509.IPAddress(ip_address("127.0.0.1")), _END, NAME, "Hostname mismatch"),
        (x509.DNSName(NAME), _END, "127.0.0.1", "IP address mismatch"),
        (x509.DNSName(NAME), _BEGIN + _DAY, NAME, "certificate has expired"),
    ],
)
async def test_a_certificate_that_is_not_good_for_the_host_is_refused(
    authority: Authority, certified: x509.GeneralName, end: datetime, host: str, reason: str
) -> None:
    server = authority.server(certified, end=end)
    async with sink(answering(OK), tls=server) as target:
        with pytest.raises(OutboundError, match=reason):
            await calling(authority).post(target.url(host, "https"), b"{}", {})
    assert target.heads == []


@pytest.mark.asyncio
async def test_an_unknown_authority_is_not_believed(authority: Authority) -> None:
    server = authority.server(x509.DNSName(NAME))
    async with sink(answering(OK), tls=server) as target:
        unknowing = client(["127.0.0.1"], cidrs=LOOPBACK)
        with pytest.raises(OutboundError, match="certificate was refused"):
            await unknowing.post(target.url(NAME, "https"), b"{}", {})
    assert target.heads == []


@pytest.mark.asyncio
async def test_a_target_without_encryption_is_not_called_over_https() -> None:
    async with sink(answering(b"220 mail ESMTP\r\n"), reads_request=False) as target:
        with pytest.raises(OutboundError, match="no encrypted connection"):
            await client(["127.0.0.1"], cidrs=LOOPBACK).post(target.url(NAME, "https"), b"{}", {})
    async with sink(answering(b""), reads_request=False) as target:
        with pytest.raises(OutboundError, match="no encrypted connection"):
            await client(["127.0.0.1"], cidrs=LOOPBACK).post(target.url(NAME, "https"), b"{}", {})
