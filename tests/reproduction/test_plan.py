"""Every way to an experiment follows the plan of a reproduction, and no record but the new one is written to."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from frameworm.experiment import Experiment
from frameworm.experiment.errors import ReproductionError

from .conftest import Project
from .test_untouched import differing, tree

HEAD = """\
import os, subprocess, sys
from frameworm.experiment import Experiment, ExperimentManager
root = sys.argv[1]
options = {"root_dir": root, "system_metrics_s": 0}
"""
RESUMED_BY_ITS_ID = """
with Experiment("first", **options) as exp:
    exp.log_metric("loss", 1.0)
with Experiment.resume(exp.experiment_id, **options) as exp:
    exp.log_metric("loss", 2.0)
"""
RESUMED_BY_NAME = RESUMED_BY_ITS_ID.replace("exp.experiment_id", "'exp_002'")
ATTACHED = """
exp = Experiment("first", **options).start()
with Experiment.attach("exp_002", root_dir=root) as other:
    other.log_metric("other", 2.0)
exp.log_metric("loss", 1.0)
exp.end()
"""
ATTACHED_FROM_ANOTHER_PROCESS = """
if len(sys.argv) > 2:
    with Experiment.attach(sys.argv[2], root_dir=root) as exp:
        exp.log_metric("other", 2.0)
    raise SystemExit
with Experiment("first", **options) as exp:
    subprocess.run([sys.executable, __file__, root, exp.experiment_id], check=True)
    exp.log_metric("loss", 1.0)
"""
ANOTHER_IS_RESUMED = """
with Experiment("first", **options) as exp:
    exp.log_metric("loss", 1.0)
with Experiment.resume("exp_001", **options) as before:
    before.log_metric("later", 1.0)
    exp2 = before.info
"""
ANOTHER_IS_FORKED = """
with Experiment.fork("exp_001", step=0, **options) as exp:
    exp.log_metric("loss", 1.0)
"""
MANAGED = """
with Experiment("first", **options) as exp:
    exp.log_metric("loss", 1.0)
    manager = ExperimentManager(root)
    exp.log_metric("before", manager.get_metric_history("exp_001", "loss")["metric_value"].iloc[-1])
    exp.log_metric("count", len(manager.reader(exp.experiment_id).read("loss", "train").values))
    manager.add_tags(exp.experiment_id, "seen")
"""
ANOTHER_IS_CHANGED = """
with Experiment("first", **options) as exp:
    exp.log_metric("loss", 1.0)
    try:
        {change}
    except Exception as error:
        print(type(error).__name__, error)
"""
CHANGES = [
    "ExperimentManager(root).add_tags('exp_001', 'best')",
    "ExperimentManager(root).add_note('exp_001', 'best')",
    "ExperimentManager(root).rename('exp_001', 'best')",
    "ExperimentManager(root).delete_experiment('exp_001')",
    "ExperimentManager(root).prune(older_than='0s', tags='none')",
    "ExperimentManager(root).compact(['exp_001'])",
    "ExperimentManager(root).doctor(repair=True)",
    "ExperimentManager(root).empty_trash()",
]


def prepare(project: Project, script: str, *, absolute: bool) -> str:
    """Record an experiment by hand, then one by the script, which names the root as it is told."""
    with Experiment("before", root_dir=project.root, system_metrics_s=0) as exp:
        exp.log_metric("loss", 7.0)
    (project.folder / "train.py").write_text(HEAD + script)
    root = str(project.root) if absolute else os.path.relpath(project.root, project.folder)
    environment = project.environment()
    subprocess.run([sys.executable, "train.py", root], cwd=project.folder, env=environment, check=True, timeout=60)
    return root


@pytest.mark.parametrize(
    ("script", "absolute"),
    [
        pytest.param(RESUMED_BY_ITS_ID, False, id="resumed by its id"),
        pytest.param(RESUMED_BY_NAME, True, id="resumed by name"),
        pytest.param(RESUMED_BY_NAME, False, id="resumed by name, relative"),
        pytest.param(ATTACHED, False, id="attached"),
        pytest.param(ATTACHED_FROM_ANOTHER_PROCESS, False, id="attached from another process"),
        pytest.param(ANOTHER_IS_RESUMED, True, id="another is resumed"),
        pytest.param(ANOTHER_IS_RESUMED, False, id="another is resumed, relative"),
        pytest.param(ANOTHER_IS_FORKED, False, id="another is forked"),
        pytest.param(MANAGED, True, id="managed"),
        pytest.param(MANAGED, False, id="managed, relative"),
    ],
)
def test_a_reproduction_writes_to_nothing_but_itself(project: Project, script: str, absolute: bool) -> None:
    prepare(project, script, absolute=absolute)
    before = tree(project.folder.parent)
    found = project.manager.reproduce("exp_002")
    assert (found.outcome, found.reproduction_id) == ("identical", "exp_003"), (found.verdict, found.tail)
    assert differing(before, tree(project.folder.parent)) == []
    assert len(list(project.root.glob("exp_*"))) == 3


def test_what_another_program_began_is_refused_in_words(project: Project) -> None:
    with Experiment("first", root_dir=project.root, system_metrics_s=0) as exp:
        exp.log_metric("loss", 1.0)
    (project.folder / "train.py").write_text(
        HEAD + "with Experiment.resume('exp_001', **options) as exp:\n    exp.log_metric('loss', 2.0)\n"
    )
    command = [sys.executable, "train.py", str(project.root)]
    subprocess.run(command, cwd=project.folder, env=project.environment(), check=True, timeout=60)
    before = tree(project.folder.parent)
    with pytest.raises(ReproductionError, match="what another program began is not run again"):
        project.manager.reproduce("exp_001")
    assert differing(before, tree(project.folder.parent)) == []


def test_other_records_are_not_changed_through_a_manager(project: Project) -> None:
    changes = "\n".join(
        f"    try:\n        {change}\n    except Exception as error:\n        print('refused', type(error).__name__)"
        for change in CHANGES
    )
    script = "with Experiment('first', **options) as exp:\n    exp.log_metric('loss', 1.0)\n"
    script += "    if 'FRAMEWORM_REPRODUCE' in os.environ:\n" + changes.replace("\n", "\n    ").replace(
        "    try", "        try", 1
    )
    prepare(project, script, absolute=True)
    before = tree(project.folder.parent)
    found = project.manager.reproduce("exp_002")
    assert found.outcome == "identical", (found.verdict, found.tail)
    assert differing(before, tree(project.folder.parent)) == []
    printed = (found.diff.b.path / "logs" / "console.log").read_text().splitlines()
    assert printed.count("refused StateError") == len(CHANGES) - 1, printed  # one of them finds nothing to prune
