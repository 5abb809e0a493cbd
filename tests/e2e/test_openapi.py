"""GET /openapi.json: a valid document, of just the routes that there are, which says what answers
look like; and errors, which all have one form."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Iterator

import jsonschema
import pytest

from harness.mount import Magnetfs
from harness.seeder import Seeder
from harness.torrents import KIB, MIB, Torrent, TorrentMaker
from harness.web import Answer, stream_target
from harness.wire import Wire

# The OpenAPI Initiative's own schema of documents, as a package of Debian has it.
SCHEMA = Path("/usr/lib/python3/dist-packages/drf_spectacular/validation/openapi3_schema.json")
METHODS = ("get", "head", "post", "put", "delete", "options", "patch", "trace")
NOBODY = "1" * 40
LISTENERS = 32


@pytest.fixture(scope="module")
def season(torrents: TorrentMaker) -> Torrent:
    files = [("a/same.srt", 100), ("b/same.srt", 200), ("b/film.mkv", 100 * KIB)]
    return torrents.multi("season", files, seed=161, piece_length=16 * KIB)


@pytest.fixture
def served(magnetfs: Callable[..., Magnetfs], seeder: Seeder, season: Torrent) -> Magnetfs:
    fs = magnetfs("--metadata-timeout", "1", "--retries", "0")
    fs.add_torrent(season, seeder.seed(season))
    return fs


# -- the document ----------------------------------------------------------------------------------


class Document:
    """What /openapi.json says."""

    def __init__(self, fs: Magnetfs, token: str | None = None) -> None:
        assert fs.web
        answer = fs.web.get("/openapi.json" + (f"?token={token}" if token else ""))
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        self.json = answer.json
        self.strict = closed(self.json)
        self.resolver = jsonschema.RefResolver.from_schema(self.strict)

    def deref(self, node: Any) -> Any:
        while "$ref" in node:
            _, node = self.resolver.resolve(node["$ref"])
        return node

    def operations(self) -> set[tuple[str, str]]:
        return {
            (method.removeprefix("x-").upper(), path)
            for path, item in self.json["paths"].items()
            for method in item
        }

    def validate(self, schema: Any, value: Any) -> None:
        jsonschema.Draft4Validator(schema, resolver=self.resolver).validate(value)

    def check(self, method: str, path: str, answer: Answer) -> None:
        """Whether an answer is one of those that the operation promises."""
        name = method.lower() if method.lower() in METHODS else "x-" + method.lower()
        responses = self.strict["paths"][path][name]["responses"]
        assert str(answer.status) in responses, (method, path, answer.status)
        response = self.deref(responses[str(answer.status)])
        for name, header in response.get("headers", {}).items():
            if name in answer.headers:
                self.validate(self.deref(header)["schema"], answer.headers[name])
        if method == "HEAD" or not response.get("content"):
            assert answer.body == b"", (method, path, answer)
            return
        kind = answer.headers["Content-Type"].partition(";")[0]
        content = response["content"]
        assert kind in content or "*/*" in content, (method, path, answer.status, kind)
        schema = self.deref(content.get(kind, content.get("*/*"))["schema"])
        is_json = kind.endswith("json") and kind in content
        self.validate(schema, answer.json if is_json else answer.body.decode("latin-1"))


def closed(node: Any) -> Any:
    """The same in JSON Schema's terms, whose objects have no members but those that are named."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    new = {name: closed(value) for name, value in node.items()}
    if new.get("nullable") is True:
        new["type"] = [new["type"], "null"]
    if new.get("type") in ("object", ["object", "null"]) and "properties" in new:
        new["additionalProperties"] = False
    return new


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from references(item)


def test_the_document_is_valid_openapi(fs: Magnetfs) -> None:
    document = Document(fs)
    jsonschema.Draft4Validator(json.loads(SCHEMA.read_text())).validate(document.json)
    # What that schema can't ask for: whatever is referred to is there, whatever is there is
    # referred to, names are unique, and what a path names is a parameter of its operations.
    used = set(references(document.json))
    for reference in used:
        document.resolver.resolve(reference)
    kinds = ("schemas", "responses", "parameters", "headers", "requestBodies")
    there = {
        f"#/components/{kind}/{name}" for kind in kinds for name in document.json["components"][kind]
    }
    unused = {name.rpartition("/")[2] for name in there - used}
    # 401 is for those who need a token; Event is what the text of /events has for data.
    assert unused <= {"401", "Event"}, unused
    ids = set()
    for path, item in document.strict["paths"].items():
        named = {part.partition("}")[0] for part in path.split("{")[1:]}
        for method in METHODS:
            if method not in item:
                continue
            operation = item[method]
            parameters = [document.deref(p) for p in operation.get("parameters", [])]
            assert {p["name"] for p in parameters if p["in"] == "path"} == named, (method, path)
            assert operation["operationId"] not in ids, operation["operationId"]
            ids.add(operation["operationId"])


def test_the_document_has_the_routes_and_no_others(fs: Magnetfs) -> None:
    """With what openapi.json says of each: a route without an entry there is noticed here."""
    assert fs.web
    document = Document(fs)
    routes = fs.web.get("/").json["routes"]
    assert fs.web.get("/openapi.json").json["info"]["version"] == fs.web.get("/").json["version"]
    told = {}
    for path, item in document.json["paths"].items():
        for method, operation in item.items():
            name = method.removeprefix("x-").upper()
            told[name, path] = operation
            assert method not in METHODS or operation["operationId"], (method, path)
    expected = {}
    for route in routes:
        paths = [p for p in document.json["paths"] if is_of(p, route["path"])]
        assert len(paths) == 1, route
        expected[route["method"], paths[0]] = route["summary"]
    assert {k: v["summary"] for k, v in told.items() if k[0] != "HEAD"} == expected
    for (method, path), operation in told.items():
        if method == "HEAD":
            assert operation["summary"] == expected["GET", path]
    with Wire(fs.web.port) as wire:
        for route in routes:
            target = route["path"].replace("{hash}", NOBODY).replace("*", "x")
            allowed = wire.ask("OPTIONS", target).headers["Allow"].split(", ")
            path = next(p for p in document.json["paths"] if is_of(p, route["path"]))
            assert ("HEAD", path) in told or "HEAD" not in allowed, route
            assert ("HEAD", path) not in told or "HEAD" in allowed, route


def is_of(path: str, pattern: str) -> bool:
    if not pattern.endswith("*"):
        return path == pattern
    rest = path.removeprefix(pattern[:-1])
    return rest != path and rest.startswith("{") and rest.endswith("}")


# -- answers ---------------------------------------------------------------------------------------


def heard(fs: Magnetfs, document: Document, path: str) -> Answer:
    """The head of an endless answer, and its first event."""
    assert fs.web
    with Wire(fs.web.port) as wire:
        wire.send(wire.head("GET", path))
        stream = wire.socket.makefile("rb")
        status = int(stream.readline().split()[1])
        headers = dict(
            line.decode().rstrip("\r\n").split(": ", 1) for line in iter(stream.readline, b"\r\n")
        )
        data = next(line for line in stream if line.startswith(b"data: "))
    event = document.json["components"]["schemas"]["Event"]
    document.validate(event, json.loads(data.removeprefix(b"data: ")))
    return Answer(status, headers, data)  # type: ignore[arg-type]


def test_answers_are_what_the_document_says(
    served: Magnetfs, seeder: Seeder, torrents: TorrentMaker, season: Torrent
) -> None:
    """At least one answer of each operation, and each kind of error that it can be made to give.
    Members that the document does not name fail, and so do statuses."""
    web = served.web
    assert web
    document = Document(served)
    seen: set[tuple[str, str]] = set()
    statuses: set[int] = set()

    def ask(method: str, path: str, target: str, status: int, body: Any = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = web.request(method, target, named, body)
        assert answer.status == status, (method, target, answer)
        document.check(method, path, answer)
        seen.add((method, path))
        statuses.add(status)
        return answer

    def both(path: str, target: str, status: int, **headers: str) -> Answer:
        ask("HEAD", path, target, status, **headers)
        return ask("GET", path, target, status, **headers)

    one = season.info_hash
    film = stream_target(season, "b/film.mkv")
    other = torrents.single("other.mp4", 100 * KIB, seed=162)
    for path in ("/", "/torrents", "/metrics", "/healthz", "/openapi.json"):
        both(path, path, 200)
        ask("GET", path, path, 421, Host="evil.example")

    add = "/add/{magnet}"
    ask("GET", add, f"/add/{one}", 200)
    ask("GET", add, "/add/nonsense", 400)
    ask("GET", add, f"/add/{one}", 403, Origin="http://evil.example")
    ask("GET", add, f"/add/{NOBODY}", 504)
    assert ask("GET", "/torrents", "/torrents", 200).json["torrents"][1]["error"] is not None

    post = "/torrents"
    ask("POST", post, "/torrents", 200, other.metainfo, Content_Type="application/x-bittorrent")
    ask("POST", post, "/torrents", 200, f'{{"magnet":"{one}"}}', Content_Type="application/json")
    ask("POST", post, "/torrents", 400, "nonsense", Content_Type="text/plain")
    ask("POST", post, "/torrents", 413, "m" * 200_000, Content_Type="text/plain")
    ask("POST", post, "/torrents", 415, "nonsense", Content_Type="image/png")

    for kind in ("m3u8", "m3u"):
        both("/playlist/{hash}." + kind, f"/playlist/{one}.{kind}", 200)
        both("/playlist/{hash}." + kind, f"/playlist/{'2' * 40}.{kind}", 404)

    tag = web.request("HEAD", film).headers["ETag"]
    for path, target in (("/stream/{hash}/{path}", film), ("/stream/{hash}", f"/stream/{one}")):
        both(path, target, 200)
        ask("GET", path, target, 206, Range="bytes=1-9")
        ask("GET", path, target, 206, Range="bytes=1-9,20-29")
        both(path, target, 304, If_None_Match=tag)
        both(path, target, 412, If_Match='"another"')
        ask("GET", path, target, 416, Range="bytes=9999999-")
        both(path, target.replace(one, "2" * 40), 404)
    both("/stream/{hash}/{path}", f"/stream/{one}/b/none.mkv", 404)
    many = ask("GET", "/stream/{hash}/{path}", f"/stream/{one}/same.srt", 409).json
    assert sorted(many["candidates"]) == ["a/same.srt", "b/same.srt"]

    path = "/torrents/{hash}"
    detail = both(path, f"/torrents/{one}", 200).json
    assert len(detail["files"]) == 3 and detail["infoHash"] == one
    assert both(path, f"/torrents/{NOBODY}", 200).json["files"] is None
    both(path, f"/torrents/{'2' * 40}", 404)
    for method in ("PUT", "DELETE"):
        for where, status in ((other.info_hash, 204), ("2" * 40, 404), ("nonsense", 404)):
            ask(method, path + "/keep", f"/torrents/{where}/keep", status)
        ask(method, path + "/keep", f"/torrents/{one}/keep", 403, Origin="http://evil.example")
    ask("DELETE", path, f"/torrents/{other.info_hash}", 204)
    ask("DELETE", path, f"/torrents/{other.info_hash}", 404)

    folder, here = "/dav/{path}", f"/dav/{name_of(served, one)}"
    for path, target in (("/dav", "/dav"), (folder, here)):
        ask("OPTIONS", path, target, 200)
        ask("PROPFIND", path, target, 207, Depth="1")
        ask("PROPFIND", path, target, 403, Depth="infinity")
        ask("PROPFIND", path, target, 400, Depth="2")
        ask("PROPFIND", path, target, 413, "x" * 200_000, Depth="0")
        both(path, target, 200)
    both(folder, here + "/b/film.mkv", 200)
    ask("GET", folder, here + "/b/film.mkv", 206, Range="bytes=1-9")
    both(folder, here + "/none", 404)
    ask("PROPFIND", folder, here + "/none", 404, Depth="0")

    ask("HEAD", "/events", "/events", 200)
    document.check("GET", "/events", heard(served, document, "/events"))
    seen.add(("GET", "/events"))

    assert seen == document.operations()
    assert statuses >= {200, 204, 206, 304, 400, 403, 404, 409, 412, 413, 415, 416, 421, 504}


def name_of(fs: Magnetfs, info_hash: str) -> str:
    return str(fs.torrent(info_hash)["name"])


def test_a_token_is_told_of_and_so_are_answers_without_it(
    magnetfs: Callable[..., Magnetfs], tmp_path: Path
) -> None:
    """RFC 6750: what the document says of itself where a token is needed."""
    secret = "s" * 43
    token_file = tmp_path / "token"
    token_file.write_text(secret)
    token_file.chmod(0o600)
    fs = magnetfs("--token-file", str(token_file))
    assert fs.web
    document = Document(fs, secret)
    jsonschema.Draft4Validator(json.loads(SCHEMA.read_text())).validate(document.json)
    schemes = document.json["components"]["securitySchemes"]
    assert {name for either in document.json["security"] for name in either} == set(schemes)
    header = {"Authorization": f"{schemes['bearer']['scheme'].title()} {secret}"}
    query = f"?{schemes['query']['name']}={secret}"
    for path in ("/", "/torrents", "/metrics", "/openapi.json"):
        for answer in (fs.web.request("GET", path, header), fs.web.get(path + query)):
            assert answer.status == 200, answer
            document.check("GET", path, answer)
        refused = fs.web.get(path)
        refused.problem(401)
        document.check("GET", path, refused)
    open_to_all = document.json["paths"]["/healthz"]["get"]
    assert open_to_all["security"] == []
    answer = fs.web.get("/healthz")
    assert answer.status == 200
    document.check("GET", "/healthz", answer)


def test_readers_are_as_the_document_says(
    fs: Magnetfs, torrents: TorrentMaker
) -> None:
    """Of a file that is open, and a torrent that nobody has."""
    lonely = torrents.single("lonely.mkv", 16 * MIB, seed=163)
    fs.add(lonely.metainfo)
    assert fs.web
    document = Document(fs)
    with Wire(fs.web.port) as wire:
        wire.send(wire.head("GET", stream_target(lonely, "lonely.mkv")))
        assert wire.socket.recv(1, socket.MSG_PEEK), "its head is there, so the file is open"
        answer = fs.web.get(f"/torrents/{lonely.info_hash}")
        assert [r["path"] for r in answer.json["open"]] == ["lonely.mkv"]
        document.check("GET", "/torrents/{hash}", answer)


# -- errors ----------------------------------------------------------------------------------------

HOST = "Host: 127.0.0.1"
# What is refused, by whom it may be, and the status: (name, raw request, status).
PROBLEMS = [
    ("no HTTP", "\x16\x03\x01\n\n", 400),
    ("a request line", f"GET  / HTTP/1.1\n{HOST}\n\n", 400),
    ("no Host", "GET / HTTP/1.1\n\n", 400),
    ("a path", f"GET /stream/{{hash}}/%zz HTTP/1.1\n{HOST}\n\n", 400),
    ("a magnet", f"GET /add/nonsense HTTP/1.1\n{HOST}\n\n", 400),
    ("a foreign page", f"GET /add/{{hash}} HTTP/1.1\n{HOST}\nOrigin: http://evil.example\n\n", 403),
    ("nothing there", f"GET /nothing HTTP/1.1\n{HOST}\n\n", 404),
    ("no info-hash", f"GET /stream/nonsense HTTP/1.1\n{HOST}\n\n", 404),
    ("another method", f"PATCH /torrents HTTP/1.1\n{HOST}\n\n", 405),
    ("an unknown method", f"BREW /torrents HTTP/1.1\n{HOST}\n\n", 405),
    ("two files", f"GET /stream/{{hash}}/same.srt HTTP/1.1\n{HOST}\n\n", 409),
    ("no length", f"POST /torrents HTTP/1.1\n{HOST}\nContent-Type: text/plain\n\n", 411),
    ("another file", f'GET /stream/{{hash}} HTTP/1.1\n{HOST}\nIf-Match: "x"\n\n', 412),
    ("too much", f"POST /torrents HTTP/1.1\n{HOST}\nContent-Length: 999999999\n\n", 413),
    ("an image", f"POST /torrents HTTP/1.1\n{HOST}\nContent-Type: image/png\nContent-Length: 0\n\n", 415),
    ("beyond the end", f"GET /stream/{{hash}} HTTP/1.1\n{HOST}\nRange: bytes=999999999-\n\n", 416),
    ("an expectation", f"GET / HTTP/1.1\n{HOST}\nExpect: miracles\n\n", 417),
    ("another Host", "GET / HTTP/1.1\nHost: evil.example\n\n", 421),
    ("https", f"GET https://127.0.0.1/ HTTP/1.1\n{HOST}\n\n", 421),
    ("a large head", f"GET / HTTP/1.1\n{HOST}\nA: {'a' * 70_000}\n\n", 431),
    ("many fields", f"GET / HTTP/1.1\n{HOST}\n" + "A: b\n" * 64 + "\n", 431),
    ("a proxy's work", f"CONNECT 127.0.0.1:1 HTTP/1.1\n{HOST}\n\n", 501),
    ("a coding", f"POST /torrents HTTP/1.1\n{HOST}\nTransfer-Encoding: gzip\n\n", 501),
    ("nobody has it", f"GET /add/{NOBODY} HTTP/1.1\n{HOST}\n\n", 504),
    ("HTTP/2", f"GET / HTTP/2.0\n{HOST}\n\n", 505),
]  # fmt: skip


def test_each_error_has_the_one_form(served: Magnetfs, season: Torrent) -> None:
    """RFC 9457, whoever it is that refuses: the door, the guard, the router or a handler."""
    assert served.web
    port = served.web.port
    for what, request, status in PROBLEMS:
        text = request.replace("{hash}", season.info_hash).replace("\n", "\r\n")
        with Wire(port) as wire:
            wire.send(text.replace(HOST, f"{HOST}:{port}").encode("latin-1"))
            answer = wire.answer()
        problem = answer.problem(status)
        assert problem["detail"][0].isupper() and len(problem["detail"]) > 10, (what, problem)
        assert set(problem) - {"candidates"} == {"type", "title", "status", "detail", "error"}, what
        assert ("candidates" in problem) is (status == 409), what
        assert (answer.headers["Allow"] is not None) is (status == 405), what
        assert (answer.headers["Retry-After"] is not None) is (status in (503, 504)), what


def test_a_place_that_is_taken_has_the_one_form(fs: Magnetfs) -> None:
    assert fs.web
    with ExitStack() as stack:
        for _ in range(LISTENERS):
            wire = stack.enter_context(Wire(fs.web.port))
            wire.send(wire.head("GET", "/events"))
            assert wire.socket.recv(1, socket.MSG_PEEK)
        answer = fs.web.get("/events")
        answer.problem(503)
        Document(fs).check("GET", "/events", answer)
        assert answer.headers["Retry-After"]
