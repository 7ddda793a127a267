"""Bodies and headers that no client of ours would send: each is told in a sentence, none fails."""

import base64
import json
import random
import struct
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from tests.serve.conftest import BUDGET, UPLOADS, make_toy
from tests.serve.live import listening
from xaiserve.serve.config import Queue
from xaiserve.serve.ingress import build_ingress
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.service import Service

TOY = make_toy()
EXPLAIN = "/v1/explain?model=toy&method=occlusion&cells=2"
PREDICT = "/v1/predict?model=toy"
V1 = ("/v1/models/toy:predict", "/v1/models/toy:explain")
V2 = "/v2/models/toy/infer"
LENGTH = "Inference-Header-Content-Length"

Case = tuple[str, dict[str, str], bytes]
"""Path, headers, body."""

FORM = {"Content-Type": "multipart/form-data; boundary=b"}
PNG = {"Content-Type": "image/png"}
JSON = {"Content-Type": "application/json"}


def pictures(chance: random.Random) -> Iterator[Case]:
    """Cut files off, and change bytes in them."""
    for path in (EXPLAIN, PREDICT):
        for _ in range(15):
            yield path, PNG, TOY.png[: chance.randrange(1, len(TOY.png))]
        for _ in range(15):
            at = chance.randrange(8, len(TOY.png))
            yield path, PNG, TOY.png[:at] + chance.randbytes(4) + TOY.png[at + 4 :]
        for start in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"RIFF"):
            yield path, PNG, start + chance.randbytes(200)


def forms() -> Iterator[Case]:
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    good = part + TOY.png + b"\r\n--b--\r\n"
    bodies = [
        *(b"", b"--b", b"--b--", b"--b\r\n", b"--c--\r\n", part, part + TOY.png, good[:-10]),
        *(good.replace(b"image", b"\xff\xfe"), good.replace(b"filename", b"filename*")),
        *(good.replace(b'"image"', b'"image'), good.replace(b"form-data", b"attachment")),
        *(good * 2, good.replace(b"\r\n", b"\n"), part * 50, b"\0" * 1000),
        good.replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 500 + b"\r\n", 1),
        good.replace(b'name="image"', b'name="' + b"i" * 5000 + b'"'),
    ]
    for body in bodies:
        yield PREDICT, FORM, body
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data;;;"):
        yield EXPLAIN, {"Content-Type": kind}, good


def texts() -> Iterator[bytes]:
    """Write what is no JSON, or JSON of the wrong kind."""
    yield from (b"", b"{", b"[]", b"null", b"1", b'"x"', b"nan", b"\xff\xfe", b"\0", b"{}" * 9)
    yield from (b"[" * 100_0, b'{"a":' * 1000, b'{"instances":' + b"[" * 5000, b"1" * 5000)
    yield from (b'{"instances": NaN}', b'{"inputs": Infinity}', b'{"instances": {}}', b'{"id": 1}')


def instances() -> Iterator[object]:
    image = {"b64": base64.b64encode(TOY.png).decode()}
    yield from ([], [[]], [[[[]]]], [None], [1], [True], ["x"], [{}], [{"b64": 1}], [{"b64": "="}])
    yield from ([{"b64": None}], [{"b64": ""}], [{"image": 1}], [{"image": {"image": image}}])
    yield from ([[[["a"]]]], [[[[None]]]], [[[[{}]]]], [image, [[[0.5]]]], [[[[0.5]]], image])
    yield from ([[[[1e400]]]], [[[[10**400]]]], [[[[-1]]]], [[[0.1] * 24] * 24], [[[[0]] * 3] * 3])


def inputs() -> Iterator[dict[str, object]]:
    good = {"name": "image", "datatype": "FP32", "shape": [1, 3, 24, 24], "data": [0.5] * 1728}
    for shape in (
        *([], [0], [-1], [1], [1] * 9, [2**31] * 4, [2**63, 3, 24, 24], [1.5, 3, 24, 24]),
        *(["1", 3, 24, 24], None, {}, [1, 3, 24, -24], [1728], [1, 1, 1, 1728], [0, 3, 24, 24]),
    ):
        yield good | {"shape": shape}
    for data in (
        *([], {}, None, "x", 1, [None] * 1728, [[]] * 1728, ["x"] * 1728, [True] * 1728),
        *([10**30] * 1728, [10**400] * 1728, [-1e39] * 1728, [[0.5]] * 1727, [{}] * 1728),
    ):
        yield good | {"data": data}
    for more in (
        *({"name": 1}, {"name": ""}, {"datatype": "FP16"}, {"datatype": None}, {"parameters": []}),
        *({"parameters": {"binary_data_size": size}, "data": None} for size in (-1, 1, 2**63, "x")),
        *({"datatype": "BYTES", "shape": [1], "data": data} for data in (["="], [1], [[["x"]]])),
        *({"datatype": "UINT8", "data": [value] * 1728} for value in (-1, 256, 0.1)),
    ):
        yield good | more


def binaries() -> Iterator[Case]:
    def sent(
        size: object, datatype: str = "FP32", shape: tuple[int, ...] = (1, 3, 24, 24)
    ) -> bytes:
        tensor = {"name": "image", "datatype": datatype, "shape": shape}
        return json.dumps(
            {"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}
        ).encode()

    head = sent(6912)
    raw = np.full(1728, 0.5, "<f4").tobytes()
    for stated in ("-1", "0", "1", "1e3", "0x10", "9" * 19, "9" * 5000, "1,2", str(2**64)):
        yield V2, {LENGTH: stated}, head + raw
    for body in (head, head + raw[:-1], head + raw + b"x", head + raw * 2):
        yield V2, {LENGTH: str(len(head))}, body
    for size in (0, -6912, 6913, 2**64, "6912", 6912.0, None, [], True):
        told = sent(size)
        yield V2, {LENGTH: str(len(told))}, told + raw
    for values in (np.full(1728, np.nan, "<f4"), np.full(1728, np.inf, "<f4")):
        yield V2, {LENGTH: str(len(head))}, head + values.tobytes()
    for length in (0, 5, 2**31, 2**32 - 1):
        packed = struct.pack("<I", length) + b"abc"
        told = sent(len(packed), "BYTES", (1,))
        yield V2, {LENGTH: str(len(told))}, told + packed


def headers() -> Iterator[Case]:
    yield PREDICT, PNG | {"X-Long": "x" * 60_000}, TOY.png
    yield PREDICT, PNG | {f"X-{i}": "y" * 100 for i in range(300)}, TOY.png
    yield PREDICT, {"Content-Type": "image/" + "p" * 5000}, b"x"
    yield V2, JSON | {"Content-Encoding": "br"}, b"x"
    yield PREDICT, PNG | {"X-Request-ID": "\u00ff" * 300}, b"x"
    yield PREDICT, PNG | {"Idempotency-Key": "k" * 5000}, b"x"
    yield EXPLAIN, PNG | {"Accept": "text/event-stream;q=x,,,;"}, b"x"
    yield PREDICT + "&top=" + "9" * 5000, PNG, TOY.png
    yield EXPLAIN + "&seed=" + "9" * 5000, PNG, TOY.png
    yield EXPLAIN + "&max_seconds=1e999", PNG, TOY.png
    yield EXPLAIN + "&target=" + "9" * 5000, PNG, TOY.png
    yield PREDICT + "&range=nan,inf", PNG, TOY.png
    yield PREDICT + "&range=" + "9" * 5000 + ",1", PNG, TOY.png
    yield PREDICT + "&%ff=%00", PNG, TOY.png
    yield "/v1/models/%00:predict", JSON, b"{}"
    yield "/v2/models/%ff/infer", JSON, b"{}"


def cases() -> list[Case]:
    chance = random.Random(1)  # noqa: S311 -- repeatable
    found = [*pictures(chance), *forms(), *headers(), *binaries()]
    found += [(path, JSON, text) for path in (*V1, V2, PREDICT, EXPLAIN) for text in texts()]
    found += [
        (path, JSON, json.dumps({"instances": each}).encode())
        for path in V1
        for each in instances()
    ]
    found += [(V2, JSON, json.dumps({"inputs": [each]}).encode()) for each in inputs()]
    for more in ({"parameters": []}, {"outputs": 1}, {"outputs": [{}] * 9}, {"inputs": {}}):
        found.append((V2, JSON, json.dumps({"inputs": [], **more}).encode()))
    return found


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ClassifierServer(
        TOY.classifier, queue=Queue(), limits=UPLOADS.limits, draw=lambda *_, **__: b""
    )
    service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET)
    with listening(build_ingress(service)) as found:
        yield found
    server.close()


def wrong(answer: httpx.Response, path: str) -> str | None:
    """Say what is wrong with an answer to a malformed request; none when nothing is."""
    if answer.status_code >= 500:
        return f"status {answer.status_code}"
    if answer.status_code < 400:
        return None  # changed bytes may leave a picture, and unknown headers are nobody's business
    kind = answer.headers.get("content-type", "")
    if answer.status_code in {400, 431} and "json" not in kind:
        return None  # the HTTP parser's own: no request has reached us
    body = answer.json()
    told = body.get("error") if path.startswith("/v2") else body.get("detail")
    if not isinstance(told, str) or not told or "\n" in told or len(told) > 1000:
        return f"no sentence: {body!r:.300}"
    return None


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_hundreds_of_malformed_requests_are_told_in_a_sentence_and_none_fails(url: str):
    sent = cases()
    faults = []
    with httpx.Client(base_url=url, timeout=60) as client:
        for path, more, body in sent:
            known = {key: text.encode("latin-1") for key, text in more.items()}
            answer = client.post(path, headers=known, content=body)
            if (fault := wrong(answer, path)) is not None:
                faults.append((path[:60], {k: v[:40] for k, v in more.items()}, body[:80], fault))
        alive = client.get("/readyz").status_code

    assert len(sent) > 300
    assert not faults, "\n".join(map(str, faults))
    assert alive == 200
