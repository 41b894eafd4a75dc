"""The package as others meet it: what importing it costs, what it shows, what its wheel holds."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from frameworm.experiment import Experiment

REPOSITORY = Path(__file__).parents[1]
HEAVY = ("numpy", "pandas", "sqlalchemy", "matplotlib", "torch", "yaml", "psutil", "rich")


def run_python(code: str) -> str:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY / 'src')!r})\n{code}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(
    "statement",
    [
        "import frameworm",
        "import frameworm.experiment",
        "from frameworm.experiment import Experiment",
        "from frameworm import Experiment",
    ],
)
def test_importing_imports_nothing_heavy(statement: str) -> None:
    loaded = run_python(f"{statement}\nprint(*sys.modules)").split()
    assert "frameworm" in loaded
    assert not set(HEAVY) & set(loaded)


def test_an_experiment_can_be_recorded_without_numpy_and_pandas(tmp_path: Path) -> None:
    """Until it ends: sealing and the catalog need NumPy and SQLAlchemy, logging does not."""
    loaded = run_python(
        "from frameworm.experiment import Experiment\n"
        f"exp = Experiment(name='light', root_dir={str(tmp_path / 'experiments')!r}, system_metrics_s=0)\n"
        "exp.start()\n"
        "exp.log_metric('loss', 0.5)\n"
        "exp.log_metrics({'loss': 0.4, 'accuracy': 0.9})\n"
        "exp.flush()\n"
        "print(*sys.modules)\n"
        "exp.end()"
    ).split()
    assert not {"numpy", "pandas", "sqlalchemy", "matplotlib"} & set(loaded)


def test_the_table_of_the_page_is_served_without_numpy(tmp_path: Path) -> None:
    """Whoever opens the page waits for these imports."""
    root = tmp_path / "experiments"
    with Experiment(name="one", config={"lr": 0.1}, root_dir=root, capture_console=False, system_metrics_s=0) as exp:
        exp.log_metric("loss", 0.5)
    loaded = run_python(
        "from pathlib import Path\n"
        "from starlette.testclient import TestClient\n"
        "from frameworm.experiment.server.app import create_app\n"
        f"client = TestClient(create_app(Path({str(root)!r})), base_url='http://127.0.0.1')\n"
        "rows = 'experiments?sort=metrics.loss&columns=config.lr&q=config.lr<1'\n"
        "for path in ('store', 'columns', rows, 'complete?q=c'):\n"
        "    client.get(f'/api/v1/{path}').raise_for_status()\n"
        "print(*sys.modules)"
    ).split()
    assert "frameworm.experiment.query.browse" in loaded
    assert not {"numpy", "pandas", "pcodec", "sqlalchemy.dialects.postgresql"} & set(loaded)


@pytest.mark.parametrize("name", ["frameworm", "frameworm.experiment", "frameworm.training"])
def test_all_is_what_is_visible(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        assert getattr(module, public) is not None
    assert {shown for shown in dir(module) if not shown.startswith("_")} == {
        public for public in module.__all__ if not public.startswith("_")
    }


def test_the_error_tree_lists_every_error() -> None:
    from frameworm.experiment import errors

    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and not name.startswith("_")}
    assert {*defined, "tell"} == set(errors.__all__)
    assert not [name for name in defined - {"FramewormWarning"} if name not in (errors.__doc__ or "")]


def test_an_unknown_name_is_an_attribute_error() -> None:
    for name in ("frameworm", "frameworm.experiment", "frameworm.training"):
        with pytest.raises(AttributeError, match="nothing_of_the_kind"):
            _ = importlib.import_module(name).nothing_of_the_kind


def test_the_wheel_holds_the_package_its_types_and_its_command(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="needs hatchling, which `make setup` installs")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    build += ["--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(REPOSITORY)]
    started = time.monotonic()
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    print(f"wheel built in {time.monotonic() - started:.1f} s")
    (wheel,) = tmp_path.glob("frameworm-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(name.split("/")[0] for name in names if name.endswith(".dist-info/METADATA"))
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    modules = {str(p.relative_to(REPOSITORY / "src")) for p in (REPOSITORY / "src" / "frameworm").rglob("*.py")}
    assert modules <= names
    assert {"frameworm/py.typed", f"{info}/licenses/LICENSE"} <= names
    assert not [name for name in names if name.startswith(("tests", "docs", "examples", "benchmarks", "faults"))]
    assert "frameworm = frameworm.experiment.cli:main" in entry_points
