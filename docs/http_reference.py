"""Write docs/reference/http.md from the application itself; ``make docs`` calls it and a test keeps it up to date."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parent / "reference" / "http.md"

_START = """\
# HTTP API

What `frameworm ui` serves, at `/api/v1`. The [guide](../guide/dashboard.md) shows how to start it. Every running server
shows this page at `/api/docs`, and describes itself in OpenAPI at `/api/openapi.json`.

{about}
"""


def page() -> str:
    """Return the whole page: each operation with what it takes."""
    from frameworm.experiment.server.app import create_app
    from frameworm.experiment.server.docs import fields_of, operations

    document = create_app(Path("experiments")).openapi()
    parts = [_START.format(about=document["info"]["description"])]
    for path, method, operation in operations(document):
        parts.append(f"## {method} {path}\n\n{operation.get('description', '').strip()}\n")
        fields = fields_of(document, operation)
        if fields:
            rows = [f"| `{name}` | {_cell(kind)} | {_cell(text)} |" for name, kind, text in fields]
            parts.append("\n".join(["| name | type | |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
