"""Planted secrets are put together at run time, so that no scanner takes this file for a leak."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frameworm.experiment.secrets import MASK, mask_argv, mask_config, mask_text, mask_url

ALNUM = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6"
HEX = hashlib.sha1(b"secret").hexdigest()
WORD = "hunter" + "2"
AWS_SECRET = "wJalr" + "XUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY"
GITHUB = "ghp" + "_" + ALNUM[:36]
HF = "hf" + "_" + ALNUM[:34]
OPENAI = "sk" + "-" + ALNUM[:48]
ANTHROPIC = "sk" + "-ant-api03-" + ALNUM + "-_" + ALNUM
JWT = "ey" + "JhbGciOiJIUzI1NiJ9" + ".ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0" + "." + ALNUM[:43]
PEM_BODY = "\n".join([ALNUM + "abcdefghijkl"] * 3)
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\n" + PEM_BODY + "\n-----END RSA " + "PRIVATE KEY-----"

# (text, the part that must be gone, a part that must stay)
PLANTED: list[tuple[str, str, str]] = [
    # by name
    (f"password={WORD}", WORD, "password="),
    (f"password = {WORD}", WORD, "password"),
    (f"Password: {WORD}", WORD, "Password: "),
    (f"PASSWORD='{WORD} with spaces'", "spaces", "PASSWORD="),
    (f'{{"password": "{WORD}", "user": "bob"}}', WORD, '"user": "bob"'),
    (json.dumps(json.dumps({"password": WORD, "n": 1})), WORD, "n"),
    (f"{{'passwd': '{WORD}'}}", WORD, "passwd"),
    (f"db_password={WORD}", WORD, "db_password="),
    (f"MYSQL_PWD={WORD} mysqld", WORD, "mysqld"),
    ("password=12345678", "12345678", "password"),
    ("password=a,b)c next", "b)c", "next"),
    (f"connect(host='h', password='{WORD}', port=1)", WORD, "port=1"),
    (f"connect(password={WORD}, user=x)", WORD, "user=x"),
    (f"dsn: host=h password={WORD} dbname=d", WORD, "dbname=d"),
    (f"Server=h;Password={WORD};Database=d", WORD, "Database=d"),
    (f"passphrase: {WORD}", WORD, "passphrase"),
    (f"client_secret={ALNUM}", ALNUM, "client_secret="),
    (f'secret_key: "{ALNUM}"', ALNUM, "secret_key"),
    (f"apiKey: '{ALNUM}'", ALNUM, "apiKey"),
    (f"API key: {ALNUM}", ALNUM, "API key"),
    (f"api-key={ALNUM}", ALNUM, "api-key"),
    (f"OPENAI_API_KEY={ALNUM}", ALNUM, "OPENAI_API_KEY="),
    (f"export HF_TOKEN={ALNUM}", ALNUM, "export HF_TOKEN="),
    (f"os.environ['HF_TOKEN'] = '{ALNUM}'", ALNUM, "os.environ"),
    (f'os.environ["WANDB_API_KEY"]="{HEX}"', HEX, "WANDB_API_KEY"),
    (f"WANDB_API_KEY={HEX}", HEX, "WANDB_API_KEY="),
    (f"wandb login {HEX}", HEX, "wandb login"),
    (f"wandb.login(key='{HEX}')", HEX, "wandb.login"),
    (f"access_token={ALNUM}", ALNUM, "access_token="),
    (f"auth_token: {ALNUM}", ALNUM, "auth_token"),
    (f'"token": "{ALNUM}"', ALNUM, "token"),
    (f"AccountKey={ALNUM}==;EndpointSuffix=x", ALNUM, "EndpointSuffix=x"),
    (f"private_key={ALNUM}", ALNUM, "private_key="),
    (f"credentials={WORD}", WORD, "credentials="),
    (f'+    password = "{WORD}"', WORD, "+    password"),
    (f"config['password'] = '{WORD}'", WORD, "config"),
    # AWS
    ("found " + "AKI" + "AIOSFODNN7EXAMPLE in env", "IOSFODNN7EXAMPLE", "in env"),
    ("ASI" + "AIOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE", "ASIA"),
    (f"aws_secret_access_key = {AWS_SECRET}", AWS_SECRET, "aws_secret_access_key"),
    (f"AWS_SECRET_ACCESS_KEY={AWS_SECRET}", AWS_SECRET, "AWS_SECRET_ACCESS_KEY="),
    (f'"SecretAccessKey": "{AWS_SECRET}"', AWS_SECRET, "SecretAccessKey"),
    (f"AWS Secret Access Key [None]: {AWS_SECRET}", AWS_SECRET, "AWS Secret"),
    (f"AWS_SESSION_TOKEN={ALNUM}/{ALNUM}==", ALNUM, "AWS_SESSION_TOKEN="),
    # flags and headers
    (f"train.py --api-key {ALNUM} --lr 0.1", ALNUM, "--lr 0.1"),
    (f"train.py --token={WORD} --lr 0.1", WORD, "--lr 0.1"),
    (f"--hf-token {ALNUM}", ALNUM, "--hf-token"),
    (f"--password {WORD}", WORD, "--password"),
    (f"Authorization: Bearer {ALNUM}", ALNUM, "Authorization: Bearer"),
    (f"authorization: basic {ALNUM}==", ALNUM, "authorization: basic"),
    (f"curl -H 'Authorization: token {ALNUM}' https://x", ALNUM, "https://x"),
    (f"headers={{'Authorization': 'Bearer {ALNUM}'}}", ALNUM, "Bearer"),
    (f'headers["Authorization"] = f"Bearer {ALNUM}"', ALNUM, "Bearer"),
    (f"using bearer {ALNUM}", ALNUM, "bearer"),
    (f"X-Api-Key: {ALNUM}", ALNUM, "X-Api-Key"),
    (f"PRIVATE-TOKEN: {ALNUM}", ALNUM, "PRIVATE-TOKEN"),
    # URLs
    (f"https://bob:{WORD}@host/x", WORD, "https://bob:"),
    (f"postgresql+psycopg://bob:{WORD}@db:5432/x?a=b", WORD, "@db:5432/x?a=b"),
    (f"redis://:{WORD}@cache:6379/0", WORD, "@cache:6379/0"),
    (f"mongodb://bob:p@{WORD}@h/x", WORD, "@h/x"),
    (f"remote: https://{ALNUM[:40]}@github.com/o/r.git", ALNUM[:40], "@github.com/o/r.git"),
    (f"https://{HEX}:x-oauth-basic@github.com/o/r", HEX, "@github.com/o/r"),
    (f"https://x-access-token:{GITHUB}@github.com/o/r", GITHUB[4:], "x-access-token"),
    (f"GET /data?token={WORD}&page=2", WORD, "&page=2"),
    (f"https://h/b?sig={ALNUM}%3D&se=2024", ALNUM, "&se=2024"),
    (f"https://b.s3.amazonaws.com/k?X-Amz-Signature={HEX}&x=1", HEX, "&x=1"),
    (f"https://maps/api?key={ALNUM}&q=1", ALNUM, "&q=1"),
    ("https://hooks." + "slack.com/services/T000/B000/" + ALNUM[:24], ALNUM[:24], "hooks"),
    # by shape
    (f"pushing with {GITHUB}.", GITHUB[4:], "pushing with ghp_"),
    ("gho" + "_" + ALNUM[:36], ALNUM[:36], "gho_"),
    ("github" + "_pat_" + ALNUM[:22] + "_" + ALNUM, ALNUM[:22], "github_pat_"),
    ("glp" + "at-" + ALNUM[:20], ALNUM[:20], "glpat-"),
    (OPENAI, OPENAI[3:], "sk-"),
    ("sk" + "-proj-" + ALNUM + "_" + ALNUM, ALNUM, "sk-proj-"),
    (f"key: {ANTHROPIC} ok", ALNUM, " ok"),
    (f"login {HF}", HF[3:], "login hf_"),
    ("xox" + "b-123456789012-" + ALNUM[:24], ALNUM[:24], "xoxb-"),
    (f"password=Xy1({WORD}", WORD, "password="),
    ("AI" + "za" + ALNUM[:35], ALNUM[:35], "AIza"),
    ("ya29" + "." + ALNUM, ALNUM, "ya29."),
    (f"cookie is {JWT};", JWT[10:], ";"),
    ("npm" + "_" + ALNUM[:36], ALNUM[:36], "npm_"),
    ("pypi" + "-AgE" + ALNUM * 2, ALNUM, "pypi-AgE"),
    ("sk" + "_live_" + ALNUM[:24], ALNUM[:24], "sk_live_"),
    ("SG" + "." + ALNUM[:22] + "." + ALNUM[:43], ALNUM[:22], "SG."),
    (f"before\n{PEM}\nafter", PEM_BODY, "\nafter"),
    (PEM[:150], PEM_BODY[:60], "-----BEGIN"),
    (json.dumps({"private_key": PEM}), ALNUM, "private_key"),
    (PEM.replace("\n", "\n+"), ALNUM, "PRIVATE KEY-----"),
]


@pytest.mark.parametrize(("text", "gone", "stays"), PLANTED, ids=lambda v: None)
def test_planted_secrets_are_masked_and_their_surroundings_stay(text: str, gone: str, stays: str) -> None:
    masked = mask_text(text)
    assert gone not in masked
    assert stays in masked
    assert MASK in masked
    assert mask_text(masked) == masked
    padded = mask_text(f"2024-01-02 loss=0.1 {text}\nnext line")
    assert gone not in padded
    assert padded.startswith("2024-01-02 loss=0.1 ")
    assert "PRIVATE" in padded or padded.endswith("next line")


KEPT = [
    "Epoch 3/10: 100%|####| 469/469 [00:12<00:00, 38.2it/s] loss=0.1234 val_loss=0.2345 lr=1e-3",
    "max_tokens=2048 num_tokens: 1234567890 tokens/s=45678 token_dim=64",
    "tokenizer: AutoTokenizer-v2-large-2024 tokenizer_name=bert-base-uncased-v2",
    "pad_token=<pad> eos_token: </s> bos_token='<s>' mask_token=[MASK] pad_token_id: 50256",
    "pad_token = tokenizer1234567",
    '{"token": "the", "logprob": -0.25}',
    "token: 50256",
    "generated token 1234 of 2048",
    "The secretary wrote to the keyboard factory",
    "secret santa, bearer of bad news, a token of gratitude",
    "bearer internationalization-of-everything",
    "author: key: value, primary_key=id0123456789abcdef",
    "sort_key=created_at1234567 cache_key: abcdef0123456789abcdef",
    f"commit {HEX}",
    f"git_hash={HEX} tree {HEX[:12]}",
    f"sha256:{hashlib.sha256(b'x').hexdigest()}",
    f"  {hashlib.sha256(b'x').hexdigest()}  model.pt",
    f"wandb: run {HEX}",
    str(uuid.UUID(HEX[:32])),
    "/home/u/.cache/huggingface/hub/models--gpt2/snapshots/" + HEX + "/model.safetensors",
    "/etc/ssl/private/keys/secret/token.txt",
    "password_file=/run/secrets/db_password_file",
    "token_path: /var/run/token1234567",
    "PWD=/home/me/project1234",
    "https://github.com/o/r.git",
    "git@github.com:o/r.git",
    "ssh://git@github.com/o/r.git",
    "https://host:8080/path/@scope/pkg?page=2&sort=name",
    "mail bob@example.org",
    "sklearn sk-learn-based-model-for-classification-of-things",
    "task-resnet50-imagenet-pretrained-v2-finetuned",
    "hf_model_name=bert_base_uncased_squad_v2_finetuned",
    "hf_hub_download xoxo npm_config_cache=/x",
    "if password == stored: ...",
    "def login(password: str, token: str | None = None, secret: Optional[str] = None) -> None:",
    "password = getpass.getpass()",
    "token = tokens[i]",
    "next_token = torch.argmax(logits, dim=-1)",
    "api_key=os.environ['OPENAI_API_KEY']",
    "login(token=token, password=password, api_key=self.api_key)",
    "password=$DB_PASSWORD token=${HF_TOKEN} api_key={api_key}",
    "password: null, secret: None, token: false",
    "password=*** --api-key ***",
    "use_auth_token=True",
    "--token-dim 64 --max-token 512 --use-auth-token --lr 0.1",
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN " + "PUBLIC KEY-----\n" + ALNUM + "\n-----END PUBLIC KEY-----",
    "eyJ is how base64 of JSON begins",
    "compass: north, bypass=true",
    "ünïcode 🎉 " * 20,
    "",
]


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_survives(text: str) -> None:
    assert mask_text(text) == text


def test_names_of_config_keys() -> None:
    secret = [
        "password", "passwd", "db_password", "DB_PASSWORD", "dbPassword", "user-password", "password_prod", "password2",
        "secret", "client_secret", "api_key", "apikey", "apiKey", "API_KEY", "openai_api_key", "x-api-key",
        "access_key", "aws_secret_access_key", "private_key", "private_key_pem", "token", "auth_token", "authToken",
        "hf_token", "HF_TOKEN", "access_token", "bearer", "bearer_token", "credential", "credentials", "passphrase",
        "wandb_token", "mysql_pwd", "encryption_key", "api_keys", "secrets",
    ]  # fmt: skip
    plain = [
        "max_tokens", "tokens", "num_tokens", "tokenizer", "tokenizer_name", "token_dim", "token_type", "secretary",
        "pad_token", "eos_token", "bos_token", "mask_token", "cls_token", "image_token", "key", "keys", "primary_key",
        "keyboard", "monkey", "password_file", "secret_name", "token_path", "credentials_path", "author", "pwd",
        "compass", "access", "private", "api", "api_url", "model", "public_key", "passes", "n_secret_dim",
    ]  # fmt: skip
    config = {key: "some value 1" for key in secret + plain}
    masked = mask_config(config)
    assert [key for key in config if masked[key] == MASK] == secret
    assert [key for key in config if masked[key] == config[key]] == plain
    assert list(masked) == list(config)


def test_configs_are_masked_by_key_and_by_value_at_every_depth() -> None:
    config: dict[str, Any] = {
        "lr": 0.1,
        "token": 3,
        "password": None,
        "secret": True,
        "api_key": ["one", "two", 3],
        "credentials": {"user": "bob", "inner": {"x": "y", "n": 1}},
        "token ": "x",
        "model": {"token": {"name": "cls-token", "dim": 64}},
        "hub": {"auth_token": "abc", "empty": ""},
        "db": f"postgres://bob:{WORD}@h/d",
        "args": ["--api-key", WORD, "--lr", "0.1", f"db.password={WORD}"],
        "notes": [{"text": f"use {HF}"}],
        "empty_secret": {"password": ""},
        "special": {"token": "<s>"},
    }
    before = json.dumps(config)
    masked = mask_config(config)
    assert masked == {
        "lr": 0.1,
        "token": 3,
        "password": None,
        "secret": True,
        "api_key": [MASK, MASK, 3],
        "credentials": {"user": MASK, "inner": {"x": MASK, "n": 1}},
        "token ": "x",
        "model": {"token": {"name": "cls-token", "dim": 64}},
        "hub": {"auth_token": MASK, "empty": ""},
        "db": f"postgres://bob:{MASK}@h/d",
        "args": ["--api-key", MASK, "--lr", "0.1", f"db.password={MASK}"],
        "notes": [{"text": f"use hf_{MASK}"}],
        "empty_secret": {"password": ""},
        "special": {"token": "<s>"},
    }
    assert json.dumps(config) == before, "the caller's config is not changed"
    assert mask_config(masked) == masked


def test_arguments() -> None:
    argv = [
        "python", "train.py", "--api-key", "one two", "--token", WORD, f"--password={WORD}", "--use-auth-token",
        "--lr", "0.1", "--max-token", "512", "--pad-token", "<pad>", f"+db.password={WORD}", "optim.lr=1e-3",
        "data=/a/b=c", "-c", f"login('{HF}')", f"https://u:{WORD}@h/x", "--token", "12", "--secret",
        "--verbose", "", "--credentials",
    ]  # fmt: skip
    assert mask_argv(argv) == [
        "python", "train.py", "--api-key", MASK, "--token", MASK, f"--password={MASK}", "--use-auth-token",
        "--lr", "0.1", "--max-token", "512", "--pad-token", "<pad>", f"+db.password={MASK}", "optim.lr=1e-3",
        "data=/a/b=c", "-c", f"login('hf_{MASK}')", f"https://u:{MASK}@h/x", "--token", "12", "--secret",
        "--verbose", "", "--credentials",
    ]  # fmt: skip
    assert mask_argv([]) == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/o/r.git", "https://github.com/o/r.git"),
        (f"https://bob:{WORD}@github.com/o/r.git", "https://bob:***@github.com/o/r.git"),
        (f"https://{GITHUB}@github.com/o/r.git", "https://***@github.com/o/r.git"),
        ("git@github.com:o/r.git", "git@github.com:o/r.git"),
        ("ssh://git@h:22/r", "ssh://git@h:22/r"),
        (f"https://h/x?access_token={WORD}&a=b#f", "https://h/x?access_token=***&a=b#f"),
        ("/local/path", "/local/path"),
        ("", ""),
    ],
)
def test_urls(url: str, expected: str) -> None:
    assert mask_url(url) == expected


@given(st.text(), st.sampled_from([text for text, _, _ in PLANTED]), st.text())
def test_masking_never_fails_and_twice_is_once(before: str, text: str, after: str) -> None:
    masked = mask_text(before + text + after)
    assert mask_text(masked) == masked


SLOW = [
    "password" * 12_000, "token " * 16_000, "a" * 100_000 + "://", "://" + "a" * 100_000, "://a:" * 20_000,
    PEM[:31] * 3_000, "ey" + "J" + "a" * 100_000, "eyJaaaaaaaaaaa." * 7_000, "secret" + "-" * 100_000,
    'password="' + "\\a" * 50_000, "wandb login " * 8_000, "bearer " + "a" * 100_000, "password='" * 10_000,
    "_" * 100_000 + "password=", "hf_" * 33_000, "token=\\\\" * 12_000, "?" * 100_000 + "token=abc",
    "_password=" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("text", SLOW, ids=lambda v: v[:12])
def test_no_text_takes_long(text: str) -> None:
    start = time.perf_counter()
    mask_text(text)
    assert time.perf_counter() - start < 2.0  # 0.1 MB; 20 ms when quiet, minutes if the search were quadratic
