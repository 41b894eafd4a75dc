"""``/api/docs``: the API as one plain page, made of its OpenAPI document; nothing in it runs, nothing is fetched."""

from __future__ import annotations

import html
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

router = APIRouter(include_in_schema=False)

_STYLE = """\
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin: 2.5rem 0 0.5rem; font: 600 1rem ui-monospace, monospace; overflow-wrap: anywhere }
table { border-collapse: collapse; margin: 0.75rem 0; display: block; overflow-x: auto }
td, th { text-align: left; vertical-align: top; padding: 0.25rem 1rem 0.25rem 0; border-top: 1px solid #8884 }
code, pre { font-family: ui-monospace, monospace }
pre, p { white-space: pre-line; margin: 0.5rem 0 }
"""


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return path, method and description of every operation, in the order of the document."""
    return [
        (path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def kind_of(schema: dict[str, Any]) -> str:
    """Return the type of a parameter in words: ``integer``, ``string or null``."""
    if "anyOf" in schema:
        return " or ".join(map(kind_of, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    kind = str(schema.get("type", schema.get("$ref", "").rpartition("/")[2] or "any"))
    return f"list of {kind_of(schema['items'])}" if kind == "array" and "items" in schema else kind


def fields_of(document: dict[str, Any], operation: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, type and description of what an operation takes: parameters, and the fields of its body."""
    fields = [
        (one["name"], _with_default(one["schema"]), one.get("description", ""))
        for one in operation.get("parameters", ())
    ]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        schema = document["components"]["schemas"].get(name, content["schema"])
        for field, about in schema.get("properties", {}).items():
            fields.append((f"{field} (body)", _with_default(about), about.get("description", "")))
    return fields


def _with_default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return kind_of(schema) + (f" = {default}" if default not in (None, "") else "")


@router.get("/api/docs")
def docs(request: Request) -> Response:
    """Return the page."""
    document = request.app.openapi()
    about = document["info"]
    parts = [f"<h1>{html.escape(about['title'])} {html.escape(about['version'])}: HTTP API</h1>"]
    parts.append(f"<p>{html.escape(about['description'])}</p>")
    parts.append('<p>As <a href="/api/openapi.json">OpenAPI</a>.</p>')
    for path, method, operation in operations(document):
        parts.append(f"<h2>{method} {html.escape(path)}</h2>")
        parts.append(f"<p>{html.escape(operation.get('description', ''))}</p>")
        rows = "".join(
            f"<tr><td><code>{html.escape(name)}</code><td>{html.escape(kind)}<td>{html.escape(text)}"
            for name, kind, text in fields_of(document, operation)
        )
        if rows:
            parts.append(f"<table>{rows}</table>")
    start = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>frameworm: HTTP API</title>'
    head = '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/api/docs.css"></head>'
    return Response(f"{start}{head}<body>{''.join(parts)}</body></html>", media_type="text/html")


@router.get("/api/docs.css")
def style() -> Response:
    """Return its style sheet: the policy lets no page carry one in itself."""
    return Response(_STYLE, media_type="text/css")
