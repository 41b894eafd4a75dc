"""Hostile HTTP: whatever is sent, the dashboard answers, never with 5xx; slow clients keep nobody waiting."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from faults.child import PATIENCE_S
from faults.harness import Run
from faults.workload import Found
from frameworm.experiment import Experiment

SOURCE = Path(__file__).parents[1] / "src"
API = "/api/v1"
_SILENCE_S = 0.3


class Server(NamedTuple):
    """``frameworm ui`` that runs, and the key that lets in."""

    process: subprocess.Popen[str] | None
    port: int
    key: str

    @property
    def head(self) -> str:
        """The headers that everybody has to send."""
        return f"Host: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"

    def get(self, path: str) -> tuple[int, Any]:
        """Ask as a program would; return status and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.key}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def send(self, request: bytes, patience_s: float = PATIENCE_S) -> tuple[int, bytes]:
        """Send bytes; return status and body of the answer, 0 if there is none for so long."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=patience_s) as connection:
            received = b""
            with contextlib.suppress(ConnectionError):  # it may answer before it has read all
                connection.sendall(request)
            with contextlib.suppress(ConnectionError, TimeoutError):
                while (more := connection.recv(1 << 16)) and len(received) < 1 << 20:
                    received += more
        head, _, body = received.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            head, _, body = body.partition(b"\r\n\r\n")
        found = re.match(rb"HTTP/1\.[01] (\d{3})", head)
        return int(found[1]) if found else 0, body


def record(folder: Path) -> None:
    """Record a root with a little of everything."""
    (folder / "a.csv").write_text("a,b\n1,2\n")
    (folder / "large").write_bytes(bytes(8 << 20))
    for name in ("one", "two"):
        config = {"lr": 0.1, "deep": {"er": "text"}}
        with Experiment(
            name=name, config=config, tags=["t"], root_dir=folder / "experiments", system_metrics_s=0
        ) as exp:
            print("told")
            for step in range(5):
                exp.log_metric("loss", 1.0 / (step + 1), step=step)
            exp.log_artifact(folder / "a.csv")
            if name == "one":
                exp.log_artifact(folder / "large")
            exp.log_text("text", "words", step=0)
            exp.log_table("table", [[1, "x"]], columns=["a", "b"], step=0)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Record a root and show it."""
    code = "import sys; from pathlib import Path; from faults.http import record; record(Path(sys.argv[1]))"
    paths = os.pathsep.join((str(SOURCE), str(SOURCE.parent)))
    environment = {**os.environ, "PYTHONPATH": paths, "XDG_STATE_HOME": str(folder / "state")}
    subprocess.run([sys.executable, "-c", code, folder], env=environment, stdout=subprocess.DEVNULL, check=True)
    command = [sys.executable, "-m", "frameworm.experiment.cli", "ui", "--no-browser", "--port", "0"]
    with open(folder / "stderr", "w+") as told:
        process = subprocess.Popen(
            [*command, "--root-dir", str(folder / "experiments")],
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
            env=environment,
        )
        try:
            assert process.stdout is not None
            link = process.stdout.readline().split(" is shown at ")[1].split()[0]
            key = Path(process.stdout.readline().split(" token in ")[1].strip()).read_text()
            yield Server(process, urlsplit(link).port or 0, key)
            assert process.poll() is None, f"the server ended: {process.returncode}"
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)
        told.seek(0)
        said = told.read()
        assert not said, said[-2000:]


# ------------------------------------------------------------------------------------------ what is sent

MANY = "[" * 3000
VALUES = [
    *(
        "9" * 25,
        "9" * 4400,
        "-" + "9" * 4400,
        str(2**63),
        str(-(2**63) - 1),
        str(2**64),
        "1e400",
        "-1",
        "0",
        "NaN",
        "inf",
    ),
    *("0x10", "1_000", "%D9%A1%D9%A2", "%201", "", "%00", "a%00b", "%FF%FE", "%ED%A0%80", "%", "%zz", "%u0041", "+"),
    *(MANY, MANY + "]" * 3000, quote('["\\ud800"]'), quote('["a\\u0000"]'), "[1]", "[[[]]]", quote('{"a":1}'), "%22"),
    *("(" * 3000, "not%20" * 1000, "-" * 3000, "a" * 300, "a" * 4400, "a.b" * 1000, quote("é" * 300), "%E2%80%AE"),
    *(
        "..%2F..%2Fetc%2Fpasswd",
        "%2e%2e%2f",
        "..%5C",
        quote("' OR 1=1 --"),
        quote("a\r\nSet-Cookie: a=b"),
        "*",
        "@",
        "-",
    ),
    *("exp_" + "9" * 25, "exp_" + "9" * 4400, "exp_%D9%A0%D9%A0%D9%A1", "exp_000", "exp_-01", "EXP_001", "exp_001%00"),
    *(
        "step=" + "9" * 4400,
        "step=" + str(2**63),
        "step=",
        "metric:",
        "metric:" + MANY,
        "loss@",
        "metrics.loss.",
        "config.",
    ),
    *(
        quote("lr == 1e999"),
        quote("loss > "),
        quote("name == '" + "a" * 4000 + "'"),
        quote("a" + ".b" * 2000 + " == 1"),
    ),
    quote(json.dumps([f"exp_{n}" for n in range(1000, 2001)])),
    ",".join(f"exp_{n}" for n in range(1000, 2001)),
    ",".join(f"{n:032x}" for n in range(100)),
    *(",".join(f"config.c{n}" for n in range(5000)), ",".join(f"metrics.m{n}" for n in range(5000)), "name," * 10_000),
    *(
        quote("config.lr == 0x" + "f" * 5000),
        quote(" or ".join(["config.lr == 1"] * 500)),
        quote("name == " + "'a'" * 3000),
    ),
    quote('[["exp_001"],["\\ud800"]]'),
    quote("[[" + MANY),
]
"""What each parameter is given, however little it fits."""

GOOD = {
    **{
        "id": "exp_001",
        "ids": "exp_001",
        "a": "exp_001",
        "b": "exp_002",
        "metric": "loss",
        "q": "",
        "columns": "config.lr",
    },
    **{"by": "config.lr", "name": "a.csv", "digest": "sha256:" + "0" * 64, "groups": quote('[["exp_001"]]')},
}
"""What the other required parameters are given meanwhile."""

HEADERS = {
    "Range": [
        "bytes=" + "9" * 4400 + "-",
        "bytes=-" + "9" * 25,
        "bytes=" + "0-0," * 2000,
        "bytes=5-1",
        "bytes=a-b",
        "x=0-1",
    ],
    "If-Range": ["x" * 4000, "\xff"],
    "If-None-Match": ["*", '"' * 3000, "W/" * 3000],
    "If-Modified-Since": ["9" * 4400, "Thu, 99 Foo 0000"],
    "Accept": ["\xff", "*/*;q=" + "9" * 4400],
    "Accept-Encoding": ["gzip;q=" + "9" * 4400, "\xff"],
    "Cookie": ["=" * 4000, ";" * 4000, "\xff=\xfe", "frameworm-80=\xff"],
    "Last-Event-ID": ["9" * 4400],
    "Upgrade": ["websocket\r\nConnection: Upgrade", "h2c\r\nConnection: Upgrade"],
    "Expect": ["100-continue", "9" * 4400],
    "X-Forwarded-For": ["9" * 4400, "\xff"],
}

BODIES = [
    *(b"", b"null", b"[]", b"0", b'"', b"{", b"{}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"NaN"),
    *(
        b"[" * 500_000,
        b'{"ids":' * 100_000,
        b"[" * 400_000 + b"]" * 400_000,
        b"9" * 4400,
        b'{"ids":[' + b"9" * 4400 + b"]}",
    ),
    *(
        b'{"ids":["exp_001"],"note":"\\ud800"}',
        b'{"ids":["\\ud800"],"note":"n"}',
        b'{"ids":["exp_001"],"add_tags":["\\ud800"]}',
    ),
    *(
        b'{"ids":["exp_001"],"name":"a\\u0000b"}',
        b'{"ids":["exp_001"],"name":1e999}',
        b'{"ids":["exp_001"],"force":"maybe"}',
    ),
    *(
        b'{"ids":null}',
        b'{"ids":[]}',
        b'{"ids":[null]}',
        b'{"ids":[{"a":1}]}',
        b'{"ids":"exp_001"}',
        b'{"ids":{"0":"exp_001"}}',
    ),
    *(
        b'{"ids":["exp_001","nobody"],"note":"n"}',
        b'{"ids":["exp_001"],"__proto__":1}',
        b'{"ids":["' + b"a" * 500_000 + b'"]}',
    ),
    *(
        b'{"ids":["exp_001","exp_' + b"9" * 25 + b'"],"note":"n"}',
        b'{"ids":["../../x"],"note":"n"}',
        b'{"ids":["\\u0000"],"note":"n"}',
    ),
    json.dumps({"ids": [f"exp_{n}" for n in range(1000, 2000)], "note": "n"}).encode(),
    json.dumps({"ids": [f"nobody {n}" for n in range(1000)], "note": "n"}).encode(),
    json.dumps({"ids": [f"exp_{n}" for n in range(1000, 2001)], "note": "n"}).encode(),
]


def raw(server: Server) -> Iterator[bytes]:
    """Yield what is hardly HTTP, or not at all."""
    host = server.head
    get, post = f"GET {API}/store HTTP/1.1\r\n", f"POST {API}/experiments/edit HTTP/1.1\r\n"
    typed = host + "Content-Type: application/json\r\n"
    for text in (
        *(
            "\r\n\r\n",
            "GET",
            "GET /\r\n\r\n",
            "GET / HTTP/0.9\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
        ),
        *(
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            "\0" * 5000,
            "A" * 100_000,
        ),
        f"GET {'/' * 5000} HTTP/1.1\r\n{host}\r\n",
        f"GET http://evil.example/ HTTP/1.1\r\n{host}\r\n",
        f"GET * HTTP/1.1\r\n{host}\r\n",
        f"OPTIONS * HTTP/1.1\r\n{host}\r\n",
        f"CONNECT evil.example:443 HTTP/1.1\r\n{host}\r\n",
        f"TRACE / HTTP/1.1\r\n{host}\r\n",
        f"{'X' * 3000} / HTTP/1.1\r\n{host}\r\n",
        f"GET /é HTTP/1.1\r\n{host}\r\n",
        f"GET /a b HTTP/1.1\r\n{host}\r\n",
        f"{get}{host}Host: evil.example\r\n\r\n",
        f"{get}{host}X: {'a' * 200_000}\r\n\r\n",
        f"{get}{host}" + "X: a\r\n" * 20_000 + "\r\n",
        f"{get}{host}no colon\r\n\r\n",
        f"{get}{host}X : a\r\n\r\n",
        f"{get}{host}X: a\r\n b\r\n\r\n",
        f"{get}{host}X: a\0b\r\n\r\n",
        f"{get}{host}: a\r\n\r\n",
        get.replace("\r", "") + host.replace("\r", "") + "\n",
        *(
            f"{post}{typed}Content-Length: {length}\r\n\r\n{{}}"
            for length in ("-1", "9" * 4400, "x", "1, 2", "0x2", "+2", "")
        ),
        f"{post}{typed}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}",
        f"{post}{typed}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{{}}",
        *(
            f"{post}{typed}Transfer-Encoding: {how}\r\n\r\n0\r\n\r\n"
            for how in ("gzip", "chunked, chunked", "identity", "x")
        ),
        *(
            f"{post}{typed}Transfer-Encoding: chunked\r\n\r\n{chunk}"
            for chunk in (
                "zz\r\n",
                "-1\r\n",
                "f" * 4400 + "\r\n",
                "2\r\n{}",
                "2\r\n{}\r\n0\r\nX: " + "a" * 100_000,
                "2;" + "x" * 99_999,
            )
        ),
        *(
            f"{post}{host}Content-Type: {kind}\r\nContent-Length: 2\r\n\r\n{{}}"
            for kind in (
                "application/json; charset=x",
                "application/json; charset=" + "9" * 4400,
                "multipart/form-data",
                "\xff",
                "",
            )
        ),
        *(
            f"{post}{typed}Content-Encoding: {how}\r\nContent-Length: 2\r\n\r\n{{}}"
            for how in ("gzip", "br", "identity", "x")
        ),
        f"{get}{host}\r\n" * 200,
    ):
        yield text.encode("latin-1")


def handmade(server: Server, document: dict[str, Any]) -> Iterator[bytes]:
    """Yield every request of the list: each parameter with each value, each header, each body, odd paths."""
    close = f"{server.head}Connection: close\r\n"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.endswith("/events"):
                continue  # answers for ever: see what slow clients do
            parameters = operation.get("parameters", [])
            for parameter, value in itertools.product(parameters, VALUES):
                given = {one["name"]: GOOD[one["name"]] for one in parameters if one.get("required")}
                given[parameter["name"]] = value
                place = re.sub(r"{(\w+)}", lambda name, given=given: given.pop(name[1]), path)  # type: ignore[misc]
                query = "&".join(f"{name}={text}" for name, text in given.items())
                yield f"{method.upper()} {place}?{query} HTTP/1.1\r\n{close}\r\n".encode()
            if "requestBody" in operation:
                for body in BODIES:
                    yield (
                        f"{method.upper()} {path} HTTP/1.1\r\n{close}Content-Type: application/json\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n".encode()
                        + body
                    )
    for path in (
        "/",
        "/experiments/exp_001/charts",
        f"{API}/store",
        f"{API}/experiments/exp_001/artifacts/content?name=a.csv",
    ):
        for name, values in HEADERS.items():
            for value in values:
                yield f"GET {path} HTTP/1.1\r\n{close}{name}: {value}\r\n\r\n".encode("latin-1")
    for value in VALUES:
        for place in (
            "/{}",
            "/{}/{}",
            "/assets/{}",
            "/experiments/{}",
            "/compare?tab=charts&ids={}",
            "/api/{}",
            API + "/{}",
        ):
            yield f"GET {place.replace('{}', value or '%20')} HTTP/1.1\r\n{close}\r\n".encode()


def answered(server: Server, request: bytes, *, whole: bool = True) -> None:
    """Send a request; fail unless the answer is one, is no 5xx, and says what is wrong by a code.

    What is no ``whole`` request may be waited for.
    """
    status, body = server.send(request) if whole else server.send(request, _SILENCE_S)
    if not 200 <= status < 500 and (whole or status):
        raise AssertionError(f"{status} {body[:300]!r}")
    if status >= 400 and not body.startswith(b"<!doctype"):
        told = json.JSONDecoder().raw_decode(body.decode())[0]  # another answer may follow
        if not told["error"]["code"]:
            raise AssertionError(f"no code: {body[:300]!r}")


def hostile(run: Run) -> None:
    """Row: hostile HTTP."""
    with serving(run.folder) as server:
        document = server.get("/api/openapi.json")[1]
        requests = [(one, True) for one in handmade(server, document)][:: run.scale(40, 1)]
        requests += [(one, False) for one in raw(server)]

        def trial(number: int, folder: Path) -> Found:
            request, whole = requests[number]
            try:
                answered(server, request, whole=whole)
            except Exception as error:
                raise AssertionError(f"{request[:200]!r}… {error}") from error
            return Found(0, 0)

        run.trials(range(len(requests)), trial)
        run.remarks.append(f"{len(requests):,} by hand")
        _schemathesis(run, server)
        status, store = server.get(f"{API}/store")
        if (status, store["total"]) != (200, 2):
            run.failures.append(f"afterwards the server says {status} {store}")


def _schemathesis(run: Run, server: Server) -> None:
    """Have schemathesis make cases of the whole description, and check what is answered by all of its rules but one.

    The one says that what the description allows is taken; but it cannot tell which texts are queries.
    """
    report = run.folder / "report.json"
    made = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/api/openapi.json"),
            *("--header", f"Authorization: Bearer {server.key}", "--exclude-path", f"{API}/events", "--seed", "1"),
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance", "--continue-on-failure", "--no-color"),
            *("--phases", "coverage,fuzzing" if run.full else "fuzzing", "--max-examples", str(run.scale(3, 400))),
            *("--report", "json", "--report-json-path", str(report)),
        ],
        cwd=run.folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "faults.given", "PYTHONPATH": str(SOURCE.parent)},
        capture_output=True,
        text=True,
    )
    if not report.exists():
        run.failures.append(f"schemathesis did not come to an end: {made.stdout[-1000:]}{made.stderr[-1000:]}")
        return
    told = json.loads(report.read_text())
    cases, phase = told["test_cases"]["generated"], told["phases"]["fuzzing"]["status"]
    run.injected += cases
    run.survived += cases - told["test_cases"]["with_failures"]
    run.failures += [f"schemathesis: {one['title']} ({one['count']}): {one['operations']}" for one in told["failures"]]
    if not told["complete"] or phase != "success" or told["operations"]["errored"]:
        run.failures.append(f"schemathesis: fuzzing ended with {phase}: {made.stdout[-2000:]}")
    run.remarks.append(
        f"{cases:,} by schemathesis over {told['operations']['tested']} operations, none answered with 5xx"
    )


# ------------------------------------------------------------------------------------------ slow clients


def slow_clients(run: Run) -> None:
    """Row: slow clients."""
    many, asked = run.scale(40, 400), run.scale(40, 1_000)
    with serving(run.folder) as server, contextlib.ExitStack() as held:
        post = f"POST {API}/experiments/edit HTTP/1.1\r\n{server.head}Content-Type: application/json\r\n"
        kinds = {
            "head": (f"{post}X: ", 10.0),
            "body": (f"{post}Content-Length: 100000\r\n\r\n", 30.0),
            "chunks": (f"{post}Transfer-Encoding: chunked\r\n\r\n", 30.0),
            "reading": (
                f"GET {API}/experiments/exp_001/artifacts/content?name=large HTTP/1.1\r\n{server.head}\r\n",
                60.0,
            ),
        }
        _answers_ms(server, 20)  # the first ones import what they need
        alone = _answers_ms(server, asked)
        slow: list[tuple[socket.socket, str]] = []
        for _, kind in zip(range(many), itertools.cycle(kinds), strict=False):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(kinds[kind][0].encode())
            slow.append((connection, kind))
        began = time.monotonic()
        ended = threading.Event()
        cut: dict[socket.socket, float] = {}

        def dawdle() -> None:
            """Send a byte a second of each request that is not whole; note when the server has had enough of it."""
            while len(cut) < many and not ended.wait(1.0):
                for connection, kind in slow:
                    if connection in cut:
                        continue
                    try:
                        if kind == "reading":
                            if _is_gone(connection):
                                raise ConnectionResetError
                        else:
                            connection.sendall(b"1\r\na\r\n" if kind == "chunks" else b"a")
                    except OSError:
                        cut[connection] = time.monotonic() - began

        thread = threading.Thread(target=dawdle)
        thread.start()
        try:
            ended.wait(3.0)  # until what the system's buffers hold of the large file is sent
            took = _answers_ms(server, asked)
            if run.full:
                thread.join(100.0)
        finally:
            ended.set()
            thread.join()
        for connection, kind in slow:
            late = run.full and cut.get(connection, 1e9) > kinds[kind][1] + 20.0
            failure = f"a client slow in its {kind} was not cut: {cut.get(connection)}" if late else ""
            run.count(failure)
        run.remarks.append(
            f"{asked:,} others are answered, half within {took[asked // 2]:.0f} ms, all within {took[-1]:.0f} ms; "
            f"without the slow ones within {alone[asked // 2]:.0f} and {alone[-1]:.0f} ms"
        )
        if run.full and took[-1] > 200 + alone[-1]:  # what this machine is busy with otherwise is not theirs
            run.failures.append(
                f"an answer took {took[-1]:.0f} ms; without the slow clients {alone[-1]:.0f} ms at most"
            )


def _is_gone(connection: socket.socket) -> bool:
    """Whether the other end has cut a connection, without reading what it sent."""
    return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) or _state(connection) != _ESTABLISHED


_ESTABLISHED = 1


def _state(connection: socket.socket) -> int:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[0]


def _answers_ms(server: Server, asked: int) -> list[float]:
    """Ask in a process that does nothing else; return how long each answer took, the longest last."""
    code = "import sys; from faults.http import measure; measure(*map(int, sys.argv[1:3]), sys.argv[3])"
    paths = os.pathsep.join((str(SOURCE), str(SOURCE.parent)))
    told = subprocess.run(
        [sys.executable, "-c", code, str(asked), str(server.port), server.key],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return sorted(json.loads(told.stdout))


def measure(asked: int, port: int, key: str) -> None:
    """Print how many ms each of so many answers takes."""
    server = Server(None, port, key)
    took = []
    for _ in range(asked):
        began = time.perf_counter()
        status, page = server.get(f"{API}/experiments")
        took.append(1000 * (time.perf_counter() - began))
        assert (status, page["total"]) == (200, 2), (status, page)
    print(json.dumps(took))
