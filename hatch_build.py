"""The build hook: builds the page in ``web/`` and puts it into the wheel, and into the sdist for wheels made from it.

An editable install takes the page from ``web/dist`` when it is asked for, and needs nothing here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SERVED_FROM = "frameworm/experiment/server/static"
NODE = (20, 19)
"""The oldest that Vite runs on."""


class BuildError(RuntimeError):
    """The page cannot be built; the message says what to do."""


class PageBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the built page to what is built."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page, if it is needed and older than its sources."""
        if version == "editable":
            return
        dist = built_page(Path(self.root), self.app.display_waiting)
        build_data["force_include"][str(dist)] = SERVED_FROM if self.target_name == "wheel" else "web/dist"


def built_page(root: Path, tell: Any = print) -> Path:
    """Return the folder of the built page.

    Args:
        root: the repository, or an unpacked sdist.
        tell: told what takes time.

    Raises:
        BuildError: it is not built, and cannot be.
    """
    web = root / "web"
    dist = web / "dist"
    there = (dist / "index.html").is_file()
    if there and ((root / "PKG-INFO").is_file() or is_fresh(web)):
        return dist  # of an sdist, whose times say nothing
    if not (web / "package.json").is_file():
        raise BuildError(f"{web} is missing: the page cannot be built; take the sdist or a clone of the repository")
    lacking = what_lacks()
    if lacking and there:
        tell(f"{lacking}: the page is shipped as it was built before")
        return dist
    if lacking:
        raise BuildError(
            f"{lacking}, which builds the page of `frameworm ui` from {web}. Install it and try again, or build "
            "elsewhere with `make web` and copy web/dist here. An editable install (pip install -e .) needs none"
        )
    tell("Building the page (npm ci, npm run build)")
    environment = {**os.environ, "NO_COLOR": "1"}
    for command in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
        done = subprocess.run(
            command, cwd=web, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            said = f"{done.stdout}\n{done.stderr}".strip()[-4000:]
            raise BuildError(f"`{' '.join(command)}` in {web} failed with {done.returncode}:\n{said}")
    return dist


def is_fresh(web: Path) -> bool:
    """Whether the page was built after its sources were last changed."""
    built = (web / "dist" / "index.html").stat().st_mtime_ns
    sources = [*(web / "src").rglob("*"), *web.glob("*.*")]
    return all(path.stat().st_mtime_ns <= built for path in sources if path.is_file())


def what_lacks() -> str:
    """Say what is missing to build the page; empty if nothing."""
    if shutil.which("npm") is None or (node := shutil.which("node")) is None:
        return "Node.js with npm is not installed"
    said = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    found = tuple(map(int, re.findall(r"\d+", said)[:2]))
    wanted = ".".join(map(str, NODE))
    return "" if found >= NODE else f"Node.js {said or '(of unknown version)'} is older than {wanted}"
