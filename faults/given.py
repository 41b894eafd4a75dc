"""What schemathesis is told beyond the description: half of the experiments it asks for are there."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Put an id that there is in the place of every other one."""
    if path_parameters and "id" in path_parameters and len(str(path_parameters["id"])) % 2:
        return {**path_parameters, "id": "exp_001"}
    return path_parameters
