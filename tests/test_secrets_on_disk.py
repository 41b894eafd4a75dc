"""Fifty secrets in every place from which one could reach the disk; then every byte there is looked through."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from frameworm.experiment import ExperimentManager
from frameworm.experiment.errors import ReproductionError
from frameworm.experiment.secrets import MASK

_PLACES = {
    "config": 9,
    "argument": 5,
    "variable": 8,
    "remote": 2,
    "package": 1,
    "console": 9,
    "diff": 5,
    "untracked": 4,
    "text": 4,
    "stdin": 1,
    "error": 2,
}

PROGRAM = """\
import json, logging, os, shutil, sys
from frameworm.experiment import Experiment
import settings

hidden = json.load(open(os.environ["HIDDEN"]))
c, p, t, e = (hidden[place] for place in ("config", "console", "text", "error"))
config = {
    "lr": 0.1,
    "db": {"password": c[0], "inner": {"hub": {"auth_token": c[1]}}},
    "stores": [{"api_key": c[2]}, {"url": f"postgres://bob:{c[3]}@host/db"}],
    "args": ["--api-key", c[4], "--lr", "0.1"],
    "aws": {"secret_access_key": c[5]},
    "text": f"log in with hf_{c[6]}",
    "credentials": {"service": {"user": c[7]}},
}
with Experiment("fifty", config, root_dir=sys.argv[1], description=f"password={t[0]}", system_metrics_s=0) as exp:
    exp.update_config({"openai_api_key": c[8]})
    exp.log_metric("loss", 0.5)
    exp.add_note(f"ran with\\nHF_TOKEN={t[1]}")
    exp.alert("odd", f"Authorization: Bearer {t[2]}")
    print(f"password={p[0]}")
    print(f"Authorization: Bearer {p[1]}", file=sys.stderr)
    logging.warning("connecting with token=%s", p[2])
    for piece in ("api_ke", f"y={p[3][:9]}", f"{p[3][9:]}\\n"):
        sys.stdout.write(piece)
        sys.stdout.flush()
    for step in range(3):
        print(f"\\r{step}/3 https://bob:{p[4]}@host/data", end="", flush=True)
    print()
    print({"client_secret": p[5], "n": 1}, json.dumps({"private_key": p[6]}))
    print(f"-----BEGIN RSA " + f"PRIVATE KEY-----\\n{p[7]}\\n-----END RSA " + "PRIVATE KEY-----")
    print(f"export AWS_SECRET_ACCESS_KEY={p[8]}", flush=True)
    assert sys.stdin.read()
    shutil.copytree(exp.exp_dir, os.environ["LIVE"])
    try:
        raise ValueError(f"Authorization: Bearer {e[0]}")
    except ValueError as cause:
        raise RuntimeError(f"no answer from https://bob:{e[1]}@host with {settings.LIMIT}") from cause
"""


def secret(name: str) -> str:
    digits = hashlib.sha256(name.encode()).hexdigest()
    return f"{digits[:14]}Zq{digits[14:28]}"


def secrets() -> dict[str, list[str]]:
    """Return 50 that nobody else has: letters and digits, so that no encoding of JSON or YAML changes them."""
    made = {place: [secret(f"{place} {n}") for n in range(many)] for place, many in _PLACES.items()}
    assert sum(map(len, made.values())) == len({one for some in made.values() for one in some}) == 50
    return made


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, list[str]]]:
    """Record an experiment that fails, in a repository with uncommitted changes, with secrets everywhere."""
    top, hidden = tmp_path_factory.mktemp("planted"), secrets()
    project, root = top / "project", top / "experiments"
    project.mkdir()

    def git(*words: str) -> None:
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *words], cwd=project, check=True, capture_output=True)

    (project / "train.py").write_text(PROGRAM)
    (project / "settings.py").write_text("LIMIT = 3\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    git("remote", "add", "origin", f"https://bob:{hidden['remote'][0]}@host.invalid/repository.git")
    git("remote", "add", "backup", f"https://{hidden['remote'][1]}:x-oauth-basic@host.invalid/other.git")
    d, u = hidden["diff"], hidden["untracked"]
    (project / "settings.py").write_text(f'LIMIT = 3\npassword = "{d[0]}"\nconnect(api_key="{d[1]}")\n')
    git("add", "settings.py")
    (project / "settings.py").write_text(
        (project / "settings.py").read_text().replace("connect(", "print(").replace("\nprint", "\nassert dict")
        + f"URL = 'redis://:{d[2]}@cache:6379/0'\n# token: {d[3]}\n"
        + 'KEY = """-----BEGIN '
        + f'PRIVATE KEY-----\n{d[4]}\n-----END PRIVATE KEY-----"""\n'
    )
    (project / "login.env").write_text(f"HF_TOKEN={u[0]}\nLANG=C\n")
    (project / "hub.json").write_text(json.dumps({"token": u[1]}))
    (project / "hub.yaml").write_text(f"hub:\n  client_secret: {u[2]}\n")
    (project / "more.py").write_text(f"headers = {{'Authorization': 'Bearer {u[3]}'}}\n")
    site = top / "site" / "calc-1.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Name: calc\nVersion: 1.0\n")
    source = {"url": f"https://bob:{hidden['package'][0]}@host.invalid/calc.git", "vcs_info": {}}
    (site / "direct_url.json").write_text(json.dumps({**source, "vcs_info": {"vcs": "git", "commit_id": "0" * 40}}))
    (top / "hidden.json").write_text(json.dumps(hidden))
    (top / "input.txt").write_text(f"password={hidden['stdin'][0]}\n")
    a, v = hidden["argument"], hidden["variable"]
    words = ["--api-key", a[0], f"--password={a[1]}", f"+db.token={a[2]}", f"https://bob:{a[3]}@host/x"]
    variables = {
        "SLURM_JWT": v[0],
        "HF_TOKEN": v[1],
        "OPENAI_API_KEY": v[2],
        "AWS_SECRET_ACCESS_KEY": v[3],
        "https_proxy": f"http://bob:{v[4]}@proxy",
        "NCCL_PROXY": f"http://bob:{v[5]}@proxy",  # these three are recorded
        "PYTORCH_EXTRA": f"--token {v[6]} --lr 0.1",
        "CUDA_EXTRA": f"password={v[7]}",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FRAMEWORM_", "GIT_"))}
    path = os.pathsep.join([str(top / "site"), str(Path(__file__).parents[1] / "src")])
    with open(top / "input.txt", "rb") as stdin:
        done = subprocess.run(
            [sys.executable, "train.py", str(root), *words, "--header", f"Authorization: Bearer {a[4]}"],
            cwd=project,
            stdin=stdin,
            env={
                **kept,
                **variables,
                "PYTHONPATH": path,
                "HIDDEN": str(top / "hidden.json"),
                "LIVE": str(top / "live"),
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert "RuntimeError: no answer from" in done.stderr
    manager = ExperimentManager(root)
    manager.set_description("exp_001", f"it failed\npassword={hidden['text'][3]}")
    assert manager.get_experiment("exp_001")["status"] == "failed"
    manager.export("exp_001", top / "bundle.zip", data=True)
    return top, root, hidden


def everything(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file under a path, as it is and with all that is packed in it."""
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            yield str(file), file.read_bytes()
            yield from unpacked(str(file), file.read_bytes())


def unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what lies in a file deflated; that is what segments, zip files and packs of git do."""
    at = -1
    while (at := content.find(b"\x78", at + 1)) >= 0:
        try:
            yield f"{name} at {at}", zlib.decompressobj().decompress(content[at:])
        except zlib.error:
            continue


def found(
    hidden: dict[str, list[str]], contents: Iterator[tuple[str, bytes]]
) -> tuple[list[tuple[str, int, str]], int]:
    """Return which secrets are where, and how many bytes were looked through; a half of one counts."""
    there, size = [], 0
    for name, content in contents:
        size += len(content)
        for place, some in hidden.items():
            for n, one in enumerate(some):
                if one[:13].encode() in content or one[-13:].encode() in content:
                    there.append((place, n, name))
    return there, size


def test_no_secret_of_fifty_is_on_the_disk(planted: tuple[Path, Path, dict[str, list[str]]]) -> None:
    top, root, hidden = planted
    there, size = found(hidden, everything(root))
    assert there == []
    assert size > 20_000
    assert found(hidden, everything(top / "live"))[0] == []  # as it was while it ran


def test_no_secret_of_fifty_is_in_the_bundle(planted: tuple[Path, Path, dict[str, list[str]]], tmp_path: Path) -> None:
    top, _, hidden = planted
    with zipfile.ZipFile(top / "bundle.zip") as archive:
        archive.extractall(tmp_path / "bundle")
    assert found(hidden, everything(top / "bundle.zip"))[0] == []
    assert found(hidden, everything(tmp_path / "bundle"))[0] == []
    (commit,) = tmp_path.glob("bundle/experiment/provenance/git/*.bundle")
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "git")], check=True)
    (tmp_path / "git" / "shallow").write_text(f"{commit.stem}\n")
    subprocess.run(["git", "bundle", "unbundle", str(commit)], cwd=tmp_path / "git", check=True, capture_output=True)
    listing = ["git", "cat-file", "--batch", "--batch-all-objects"]
    objects = subprocess.run(listing, cwd=tmp_path / "git", check=True, capture_output=True).stdout
    assert b"LIMIT = 3" in objects
    assert found(hidden, iter([("objects", objects)]))[0] == []


def test_the_search_finds_what_is_there(planted: tuple[Path, Path, dict[str, list[str]]], tmp_path: Path) -> None:
    _, _, hidden = planted
    (tmp_path / "plain").write_text(hidden["diff"][0])
    (tmp_path / "packed").write_bytes(b"head" + zlib.compress(f"x {hidden['error'][1]}".encode()))
    assert [one[:2] for one in found(hidden, everything(tmp_path))[0]] == [("error", 1), ("diff", 0)]


def test_what_stood_around_the_secrets_is_kept(planted: tuple[Path, Path, dict[str, list[str]]]) -> None:
    _, root, _ = planted
    info = ExperimentManager(root).reader("exp_001").info
    assert info.config["db"]["password"] == MASK
    assert info.config["stores"][1]["url"] == f"postgres://bob:{MASK}@host/db"
    assert info.description == f"it failed\npassword={MASK}"
    assert info.reason == f"RuntimeError: no answer from https://bob:{MASK}@host with 3"
    assert info.git["remote"] == f"https://bob:{MASK}@host.invalid/repository.git"
    assert f"--password={MASK}" in info.environment["command"]
    assert info.environment["variables"]["CUDA_EXTRA"] == f"password={MASK}"
    (folder,) = root.glob("exp_001_*")
    printed = (folder / "logs" / "console.log").read_text()
    assert f"password={MASK}" in printed and printed.count(MASK) >= 9
    assert f'+password = "{MASK}"' in (folder / "provenance" / "uncommitted.patch").read_text()
    assert (folder / "provenance" / "code" / "login.env").read_text() == f"HF_TOKEN={MASK}\nLANG=C\n"


def test_a_reproduction_says_what_it_lacks(planted: tuple[Path, Path, dict[str, list[str]]]) -> None:
    _, root, _ = planted
    with pytest.raises(ReproductionError, match="--api-key"):
        ExperimentManager(root).reproduce("exp_001")
