"""Pictures named by address: from allowed places alone, whatever a client or a server tries."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.serve.conftest import BUDGET, UPLOADS, Toy, client_of, make_toy
from xaiserve.errors import (
    ArtifactNotFoundError,
    InvalidInputError,
    StoreUnavailableError,
    TooLargeError,
    XaiServeError,
)
from xaiserve.serve.config import make_config
from xaiserve.serve.incoming.addresses import choose
from xaiserve.serve.incoming.fetching import Fetcher
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.service import Service
from xaiserve.serve.settings import Sources

HOST = "pictures.test"
PUBLIC = "93.184.216.34"
ALLOWED = Sources(
    allowed=(f"https://{HOST}/scans", "s3://hospital/public", "s3://hospital/more scans")
)
HURRIED = ALLOWED.model_copy(update={"timeout_s": 0.5})
BYTES = b"p" * 1000


class Pictures(BaseHTTPRequestHandler):
    """Answers by name: whole, cut, dripped, elsewhere."""

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        getattr(self, f"_{name}", self._absent)()

    def _whole(self, data: bytes = BYTES) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _toy(self) -> None:
        self._whole(make_toy().png)

    def _cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(BYTES)

    def _unbounded(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(BYTES)

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        self._slowly()

    def _headers(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
        self._slowly()

    def _slowly(self) -> None:
        while not self.server.ending.wait(0.02):
            self.wfile.write(b"x")
            self.wfile.flush()

    def _elsewhere(self) -> None:
        self.send_response(302)
        self.send_header("Location", "http://169.254.169.254/latest/meta-data")
        self.end_headers()

    def _absent(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Pictures)
        self.ending = threading.Event()
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """Clients hang up here; that is what is tested."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    file.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
        + made.public_bytes(encoding)
    )
    return file


@pytest.fixture(scope="module")
def port(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(context) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.ending.set()
        server.shutdown()
        thread.join()


class Network:
    """Names with addresses that we choose, all of which lead to the server here."""

    def __init__(self, port: int, *found: str) -> None:
        self._port = port
        self._found = list(found) or [PUBLIC]
        self.asked: list[str] = []
        self.connected: list[tuple[str, int]] = []

    def look_up(self, host: str, _: int) -> list[str]:
        self.asked.append(host)
        return self._found

    def connect(self, address: tuple[str, int], timeout_s: float) -> socket.socket:
        self.connected.append(address)
        return socket.create_connection(("127.0.0.1", self._port), timeout_s)


@pytest.fixture
def network(port: int) -> Network:
    return Network(port)


@pytest.fixture
def make(certificate: Path) -> Callable[..., Fetcher]:
    def made(network: Network, sources: Sources = ALLOWED) -> Fetcher:
        trust = ssl.create_default_context(cafile=str(certificate))
        return Fetcher(sources, look_up=network.look_up, trust=trust, connect=network.connect)

    return made


def fetch(fetcher: Fetcher, uri: str, max_bytes: int = 2000) -> bytes:
    return asyncio.run(fetcher.fetch(uri, max_bytes=max_bytes))


def test_a_picture_of_an_allowed_place_is_read_whole(make, network: Network):
    assert fetch(make(network), f"https://{HOST}/scans/a/whole?token=1") == BYTES


def test_the_address_that_was_checked_is_the_one_connected_to(make, network: Network):
    fetch(make(network), f"https://{HOST}/scans/whole")

    assert network.asked == [HOST]  # once: a second look-up could be answered otherwise
    assert network.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/etc/passwd",
        "file:///etc/passwd",
        f"http://{HOST}/scans/whole",
        f"https://{HOST}/other/whole",
        f"https://{HOST}/scansx/whole",
        f"https://{HOST}/scans",
        f"https://{HOST}/scans/../other/whole",
        f"https://{HOST}/scans/%2e%2E/other/whole",
        f"https://{HOST}/scans/..%2fother/whole",
        f"https://{HOST}/scans/..;/other/whole",
        f"https://{HOST}/scans/..;v=1/other/whole",
        f"https://{HOST}/scans/%2e%2e%3b/other/whole",
        f"https://{HOST}/scans/..%5cother/whole",
        f"https://{HOST}/scans/a%5c..%5c..%5cother",
        f"https://{HOST}/scans/%252e%252e/other/whole",
        f"https://{HOST}/scans/..%252fother/whole",
        f"https://{HOST}/scans/..%255cother/whole",
        f"https://{HOST}/scans/..%20/other/whole",
        f"https://{HOST}/scans/..%00/other/whole",
        f"https://{HOST}/scans/..%3f/whole",
        f"https://{HOST}/scans/%{'25' * 9}41/whole",
        f"https://{HOST}:8443/scans/whole",
        f"https://user:pw@{HOST}/scans/whole",
        f"https://{HOST}.evil.test/scans/whole",
        f"https://evil.test\\@{HOST}/scans/whole",
        f"https://{HOST}@evil.test/scans/whole",
        f"https://evil.test/https://{HOST}/scans/whole",
        f"https://{HOST}/scans/who le",
        f"https://{HOST}/scans/a\r\nHost: evil",
        f"https://{HOST}:port/scans/whole",
        "https://[::1/scans/whole",
        "https://127.0.0.1/scans/whole",
        "s3://hospital/private/a.png",
        "s3://hospital/public/../private/a.png",
        "s3://hospital/public/%2e%2e/private/a.png",
        "s3://hospital/public%2f/a.png",
        "s3://hospital/public/%ff.png",
        "s3://Hospital/public/a.png",
        "s3://user@hospital/public/a.png",
        "s3://other/public/a.png",
        "gopher://x",
    ],
)
def test_any_other_address_is_refused_before_anything_is_asked(make, network: Network, uri: str):
    with pytest.raises(InvalidInputError):
        fetch(make(network), uri)
    assert (network.asked, network.connected) == ([], [])


def test_nothing_is_allowed_unless_it_is_told(make, network: Network):
    with pytest.raises(InvalidInputError, match=r"sources\.allowed"):
        fetch(make(network, Sources()), f"https://{HOST}/scans/whole")


@pytest.mark.parametrize(
    "inside",
    [
        "127.0.0.1",
        "10.0.0.8",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 -- an answer of a name server
        "224.0.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.8",
        "64:ff9b::a00:8",
        "2002:a00:8::1",
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_a_name_with_one_inner_address_is_refused(make, port: int, inside: str, order: int):
    network = Network(port, *[PUBLIC, inside][::order])
    with pytest.raises(InvalidInputError, match="not fetched from") as refusal:
        fetch(make(network), f"https://{HOST}/scans/whole")
    assert inside not in str(refusal.value)
    assert network.connected == []


@pytest.mark.parametrize(
    ("address", "is_fetched"),
    [("10.0.0.8", True), ("fd00::1", True), ("127.0.0.1", False), ("169.254.169.254", False)],
)
def test_a_private_host_may_be_private_and_no_more(address: str, is_fetched: bool):
    def chosen() -> str:
        return choose(HOST, 443, is_private=True, look_up=lambda *_: [address])

    if is_fetched:
        assert chosen() == address
    else:
        with pytest.raises(InvalidInputError):
            chosen()


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("elsewhere", StoreUnavailableError, "302; redirects are not followed"),
        ("absent", ArtifactNotFoundError, "does not exist"),
        ("cut", StoreUnavailableError, "4000 bytes early"),
        ("unbounded", TooLargeError, "at most 2000 bytes"),
    ],
)
def test_what_a_server_does_wrong_ends_in_a_sentence(
    make, network: Network, name: str, error: type[XaiServeError], told: str
):
    with pytest.raises(error, match=told) as failure:
        fetch(make(network), f"https://{HOST}/scans/{name}?token=secret", max_bytes=2000)
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("part", ["drip", "headers"])
def test_a_server_that_drips_is_cut_off_and_holds_no_thread(make, network: Network, part: str):
    fetcher = make(network, HURRIED)
    with pytest.raises(StoreUnavailableError, match=r"within 0\.5 s"):
        fetch(fetcher, f"https://{HOST}/scans/{part}")

    fetcher.close()  # waits for its threads


def test_the_certificate_must_be_the_hosts(make, network: Network):
    other = Sources(allowed=("https://other.test",))
    with pytest.raises(StoreUnavailableError, match="cannot be fetched"):
        fetch(make(network, other), "https://other.test/whole")


def test_names_with_dots_that_lead_nowhere_are_read(make, network: Network):
    assert fetch(make(network), f"https://{HOST}/scans/..a/b..;c/a%2520b/whole") == BYTES


@pytest.mark.parametrize(
    "place", ["", "/data", "http://host", "https://", "s3://", "https://h?q", "https://u@h", "*"]
)
def test_an_allowed_place_must_be_an_address(place: str):
    with pytest.raises(InvalidInputError, match=r"sources\.allowed"):
        make_config({"models": {"a": "embedded"}, "sources": {"allowed": [place]}})


@pytest_asyncio.fixture
async def client(
    server: ClassifierServer, make, network: Network
) -> AsyncIterator[httpx.AsyncClient]:
    fetcher = make(network)
    service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET, fetcher=fetcher)
    async with client_of(service) as made:
        yield made


async def test_a_named_picture_is_answered_like_a_sent_one(client: httpx.AsyncClient, toy: Toy):
    sent = await client.post("/v1/predict?model=toy", files={"image": toy.png})
    named = await client.post(
        "/v1/predict?model=toy", json={"image_uri": f"https://{HOST}/scans/toy"}
    )

    assert named.json() == sent.json()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"image_uri": "https://127.0.0.1/a"}, 422),
        ({"image_uri": "/etc/passwd"}, 422),
        ({"image_uri": 7}, 422),
        ({"image_uri": f"https://{HOST}/scans/absent"}, 404),
        ({"image_uri": f"https://{HOST}/scans/whole"}, 415),
        ({"image_uri": f"https://{HOST}/scans/cut"}, 503),
        ({"image_uri": f"https://{HOST}/scans/toy", "contrast_uri": "x"}, 422),
        ({"picture": "x"}, 422),
        ([], 422),
    ],
)
async def test_a_wrong_name_is_a_problem(client: httpx.AsyncClient, body: object, status: int):
    answer = await client.post("/v1/predict?model=toy", json=body)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 60_000, b"\xff"])
async def test_a_body_that_is_no_json_is_a_problem(client: httpx.AsyncClient, body: bytes):
    sent = {"Content-Type": "application/json"}
    answer = await client.post("/v1/predict?model=toy", content=body, headers=sent)

    assert answer.status_code == 422
