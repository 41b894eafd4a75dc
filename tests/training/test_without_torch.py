from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

BLOCK = """
    import sys
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == {missing!r}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    sys.meta_path.insert(0, Missing())
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("missing", ["torch", "lightning_fabric"])
def test_error_says_what_to_install(missing):
    done = run(BLOCK.format(missing=missing) + "\n    from frameworm.training import Trainer")
    assert done.returncode == 1
    assert "frameworm.training.Trainer needs PyTorch and Lightning Fabric" in done.stderr
    assert "pip install 'frameworm[torch]'" in done.stderr


def test_the_package_itself_imports_no_torch():
    done = run(
        """
        import sys, frameworm, frameworm.training
        print(dir(frameworm.training), "torch" in sys.modules)
        from frameworm.training import Callback
        print("torch" in sys.modules)
        """
    )
    assert done.stdout == "['Callback', 'EarlyStopping', 'Trainer', 'TrainerState'] False\nFalse\n", done.stderr
