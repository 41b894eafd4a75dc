"""Secrets are replaced by ``***`` before anything reaches the disk: in configs, text, arguments and URLs.

A secret is known by its name (``hf_token``, ``--api-key``, ``password=``, ``Authorization:``), by its shape (AWS,
GitHub, GitLab, OpenAI, Anthropic, Hugging Face, Slack, Google, Stripe, npm, PyPI and like keys, JWT, private keys) or
by its place in a URL. Names and prefixes stay, so that one sees what was there.

Not promised: a secret without a telling name or shape (``x = "hunter2"``, an AWS secret key alone, the value of
``mysql -pX`` or ``curl -u``); one encoded or split over several calls (a private key printed line by line); numbers in
a config; the rest of an unquoted value after white space, a quote or ``& ; |``. Nor is all that is masked a secret:
``password: required`` loses its second word. Code without values in it, hashes, UUIDs and paths are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

__all__ = ["MASK", "mask_argv", "mask_config", "mask_text", "mask_url"]

MASK = "***"

# --- names -------------------------------------------------------------------------------------------------

_SECRET_WORDS = frozenset(
    "password passwords passwd passphrase passcode pwd secret secrets credential credentials bearer authorization "
    "apikey apikeys accesskey secretkey privatekey authtoken accesstoken".split()
)
_KEY_KINDS = frozenset("api access private secret auth account encryption signing master subscription license".split())
# password_file names a file, secret_name a name; neither is a secret.
_HARMLESS_ENDS = frozenset(
    "file files path paths dir name names env var type kind length len size dim count field column policy manager "
    "provider required enabled rotation regex pattern prompt hint expiry ttl url uri endpoint host class id ids".split()
)
# pad_token, eos_token and their like are configuration of language models.
_TOKEN_KINDS = frozenset(
    "additional audio begin blank bos boi boundary class cls content control decoder distill each end eoi eos eot "
    "extra first forced generated image input language last mask max mem min n new next num output pad padding per "
    "prefix prev prompt register sep separator sos sot source special start stop sub suffix target task text think unk "
    "video vision word".split()
)
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")

_Strength = Literal[0, 1, 2]


@lru_cache(4096)
def _strength(name: str) -> _Strength:
    """Tell how surely a name is that of a secret: 2 a password or key, 1 a token (of which there are others), 0 no."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or words[-1] in _HARMLESS_ENDS:
        return 0
    if words == ["pwd"]:  # the working folder
        return 0
    if not _SECRET_WORDS.isdisjoint(words):
        return 2
    if any(b in ("key", "keys") and a in _KEY_KINDS for a, b in pairwise(words)):
        return 2
    if words[-1] == "token" and (len(words) == 1 or words[-2] not in _TOKEN_KINDS):
        return 1
    return 0


def _is_model_token(value: str) -> bool:
    """Tell whether a value is a token of a language model: ``<pad>``, ``[CLS]``, a comma."""
    return len(value) <= 2 or (value[0], value[-1]) in (("<", ">"), ("[", "]"))


# --- values named in text ------------------------------------------------------------------------------------

_NAMED = re.compile(
    r"""
    (?P<word> pass(?:words?|wd|phrase|code) | pwd | secrets? | credentials? | bearer | authorization | token
        | (?:api|access|private|secret|auth|account|encryption|signing|master|subscription|license)[ _.-]?keys? )
    (?P<tail> [\w-]{0,40} )
    (?P<link> (?:\\{0,3}["'])? \]? (?:[ ]\[\w*\])? [ \t]* (?: => | :(?!:)=? | =(?!=) ) [ \t]*  |  [ \t]+ )
    (?P<scheme> (?: (?:bearer|basic|token|digest|negotiate) [ \t]+ )? )
    (?:
        [bfru]{0,2} (?P<quote> \\{0,3}["'] ) (?P<scheme2> (?: (?:bearer|basic|token) [ ] )? )
            (?P<quoted> (?: (?!(?P=quote)) (?: \\. | [^\\\n] ) )+ ) (?P=quote)
        | (?P<bare> (?: [^\s"'`&;|<>,)\]}] | [,)\]}] (?=[\w]) (?![\w.-]+[=:]) )+ )
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_REFERENCE = re.compile(r"\$.*|%.*|\{.*|<.*|\[.*|\(.*|\*+|none|null|true|false|nil|undefined|\.\.\.", re.IGNORECASE)
_TYPES = frozenset("str bytes int bool float object any Any None Optional SecretStr string String".split())
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_CALL = re.compile(r"[A-Za-z_][A-Za-z_.]*[(\[]")
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


def _mask_named(text: str) -> str:
    """Mask the values of ``name=value``, ``"name": "value"``, ``--name value`` and ``Authorization: Bearer value``."""
    done: list[str] = []
    start = at = 0
    while found := _NAMED.search(text, at):
        begin = found.start()
        while begin > start and text[begin - 1] in _NAME_CHARS:
            begin -= 1
        name = text[begin : found.end("tail")]
        if _holds_secret(found, name, text):
            at = found.start("quoted") if found["quoted"] else found.start("bare")
            done += (text[start:at], MASK)
            start = at = found.end("quoted") if found["quoted"] else found.end("bare")
        else:
            at = found.end("word")  # not its value, in which another name may be
    return "".join(done) + text[start:]


def _holds_secret(found: re.Match[str], name: str, text: str) -> bool:
    strength = _strength(name)
    link = found["link"]
    is_flag = name.startswith("-")
    if not strength or (link.isspace() and not is_flag):
        return False
    value: str = found["quoted"] or found["bare"]
    if _REFERENCE.fullmatch(value):
        return False
    is_argument = is_flag or text[max(0, found.start() - 40) : found.start()].rpartition("?")[1] == "?"
    if found["bare"]:
        after = text[found.end() : found.end() + 1]
        if value in _TYPES or _DOTTED.fullmatch(value) or _CALL.match(value + after):
            return False  # code: token: str, api_key=args.api_key, password = getpass()
        if value.isidentifier() and _strength(value):
            return False  # code: login(token=token)
        if is_flag and value.startswith("-"):
            return False  # the next flag
    if strength == 2 or found["scheme"] or found["scheme2"]:
        return True
    if _is_model_token(value) or _is_number(value):
        return False
    if found["bare"] and (":" in link or " " in link) and not is_flag:  # prose and code: only what looks random
        return len(value) >= 8 and any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return is_argument or len(value) >= 8


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


# --- values known by their shape -------------------------------------------------------------------------------

_SHAPES = re.compile(
    r"""
    (?P<pem> -----BEGIN[ ][A-Z0-9 ]{0,30}PRIVATE[ ]KEY(?:[ ]BLOCK)?----- )
        (?s:.)*? (?: (?= -----END[ ][A-Z0-9 ]{0,30}PRIVATE[ ]KEY ) | \Z )
    | (?<=://) (?P<user> [^\s/:@"'<>]* ) (?P<pass> :[^\s/"'<>]* )? @
    | (?<![A-Za-z0-9]) (?:
        (?P<p1> AKIA | ASIA ) [A-Z0-9]{16} (?![A-Za-z0-9])
      | (?P<p2> gh[pousr]_ ) [A-Za-z0-9]{20,}
      | (?P<p3> github_pat_ | glpat- | gldt- | glrt- | xox[a-z]- | xapp- | ya29\. | pypi-AgE | dop_v1_ | nvapi- )
            [\w.-]{16,}
      | (?P<p4> sk-(?:ant|proj|svcacct|admin|or|lf)- ) [\w-]{16,}
      | (?P<p5> sk- | [sr]k_(?:live|test)_ | hf_ | api_org_ | npm_ | gsk_ | r8_ | dapi ) [A-Za-z0-9]{20,} (?![\w])
      | (?P<p6> AIza ) [\w-]{30,}
      | (?P<p7> eyJ ) [\w-]{8,}\.[\w-]{8,}\.[\w-]*
      | (?P<p8> SG\. ) [\w-]{16,}\.[\w-]{16,}
      | (?P<p9> (?i:bearer) [ ]+ ) (?=[A-Za-z._~+/=-]{0,40}\d) [\w.~+/=-]{16,}
      | (?P<p10> wandb[. ]login\b [^\n]{0,40}? \b ) [0-9a-f]{40} \b
    )
    | (?P<p11> hooks\.slack\.com/services/ | discord(?:app)?\.com/api/webhooks/ ) [\w/-]{8,}
    | (?P<p12> [?&] (?: (?i: sig | signature | x-(?:amz|goog)-(?:signature|credential|security-token) ) =
            | key= (?=[\w-]{16}) ) ) (?!\*\*\*) [^&\s#"'<>]+
    """,
    re.VERBOSE,
)


def _mask_shape(found: re.Match[str]) -> str:
    kind = found.lastgroup
    if kind == "pem":
        return f"{found['pem']}{MASK}"
    if kind == "pass":
        user, password = found["user"], found["pass"]
        # Where a token takes the user's place: https://TOKEN:x-oauth-basic@github.com
        hide_user = len(user) > 20 or password in (":", ":x-oauth-basic")
        return f"{MASK if hide_user and user else user}{password if password == ':' else ':' + MASK}@"
    if kind == "user":
        scheme = found.string[max(0, found.start() - 8) : found.start() - 3]
        return found[0] if not scheme.endswith(("http", "https")) else f"{MASK}@"
    assert kind is not None
    return f"{found[kind]}{MASK}"


# --- the four doors ------------------------------------------------------------------------------------------

# Whether a text can hold a secret at all, asked of its lower case: 2 µs for an ordinary line of 100 characters.
# Every branch begins with a plain character, which lets the search skip by first letter; else it takes 7 µs.
_HINT = re.compile(
    r"pass(?:w|ph|co)|pwd|secret|credential|bearer|authoriz|token(?!s\b|iz)|key|://[^\s/]*@"
    r"|akia|asia|gh[pousr]_|github_pat_|gl(?:pat|dt|rt)-|xox[a-z]-|xapp-|ya29\.|pypi-age|dop_v1_|nvapi-|sk[-_]|rk_"
    r"|hf_|api_org_|npm_|gsk_|r8_|dapi|aiza|eyj|sg\.|wandb[. ]login|/services/|/webhooks/|\?(?:sig|x-)|&(?:sig|x-)"
)


def mask_text(text: str) -> str:
    """Return text with the secrets in it masked: a console line, a diff, a traceback, an argument.

    A text with nothing to mask comes back as it is. Masking twice changes nothing more.
    """
    if not _HINT.search(text.lower()):
        return text
    return _SHAPES.sub(_mask_shape, _mask_named(text))


def mask_url(url: str) -> str:
    """Return a URL with credentials and signatures masked: ``https://user:***@host/?token=***``."""
    return mask_text(url)


def mask_argv(argv: Sequence[str]) -> list[str]:
    """Return command-line arguments with secrets masked: ``--api-key X``, ``--token=X``, ``db.password=X`` and text."""
    masked: list[str] = []
    waiting: _Strength = 0  # the strength of the flag before, whose value comes now
    for word in argv:
        name, equals, value = word.partition("=")
        if waiting and word and not word.startswith("-"):
            masked.append(_mask_value(word, waiting))
            waiting = 0
            continue
        waiting = 0
        strength = _strength(name) if len(name) <= 100 and " " not in name and "/" not in name else 0
        if strength and equals:
            masked.append(f"{name}={_mask_value(value, strength)}")
        else:
            waiting = strength if word.startswith("-") else 0
            masked.append(mask_text(word))
    return masked


def mask_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a normalised config with its secrets masked: text under a key that names one, and secrets in any text.

    All text under a key like ``credentials`` is masked, however deep. Numbers, bools and None never are.
    """
    return {key: _mask_item(value, _strength(key)) for key, value in config.items()}


def _mask_item(value: Any, strength: _Strength) -> Any:
    if isinstance(value, str):
        return _mask_value(value, strength) if strength else mask_text(value)
    if isinstance(value, list):
        if not strength and all(isinstance(item, str) for item in value):
            return mask_argv(value)
        return [_mask_item(item, strength) for item in value]
    if isinstance(value, Mapping):
        inherited: _Strength = 2 if strength == 2 else 0
        return {key: _mask_item(item, inherited or _strength(key)) for key, item in value.items()}
    return value


def _mask_value(value: str, strength: _Strength) -> str:
    if not value or (strength == 1 and (_is_model_token(value) or _is_number(value))):
        return value
    return MASK
