"""What tox does not do by itself: look where pyenv keeps its interpreters, and say plainly which one is missing."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from tox.config.sets import ConfigSet
from tox.plugin import impl
from tox.session.state import State
from tox.tox_env.api import ToxEnv
from tox.tox_env.python.runner import PythonRun


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:
    """Put pyenv's interpreters last on PATH: its shims answer only for the versions that are switched on."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path += [str(folder) for folder in sorted(root.glob("versions/*/bin")) if str(folder) not in path]
    os.environ["PATH"] = os.pathsep.join(path)


@impl
def tox_env_teardown(tox_env: ToxEnv) -> None:
    """Name the interpreter of an environment that could not be made for want of it."""
    if isinstance(tox_env, PythonRun) and not tox_env.env_python().exists():
        logging.error(
            "NOT TESTED on Python %s: it was not found on PATH, and could not be downloaded. Install it, or leave out"
            " what is missing: tox --skip-missing-interpreters=true",
            tox_env.base_python.version_dot,
        )
