"""Makes the certificates beside it: `python tests/support/tls/make.py` (needs cryptography, from the server extra).

They are kept in the repository because the tests of the client run where nothing but requests, pytest and responses is
installed. The key guards nothing: it is known to everybody, and only servers on loopback show these certificates.
"""

from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = Path(__file__).parent
THEN, SOON, LATE = (datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2021, 2120))
KEY = ec.generate_private_key(ec.SECP256R1())
CA = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bitmm test authority")])


def certificate(name: str, *hosts: x509.GeneralName, until: datetime = LATE) -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) if hosts else CA
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(CA)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(THEN)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    signed = builder.sign(KEY, hashes.SHA256())
    (HERE / f"{name}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))


LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))
certificate("authority")
certificate("good", LOOPBACK, x509.DNSName("localhost"))
certificate("expired", LOOPBACK, until=SOON)
certificate("elsewhere", x509.DNSName("elsewhere.test"))
pem = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
(HERE / "key.pem").write_bytes(pem)
