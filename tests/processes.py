"""Runs text in a Python process of its own, for claims about a whole process."""

import os
import subprocess
import sys


def hold(text, folder, options=(), **environment):
    """Run text in a process, in a folder that is not the checkout; it must not fail or hang."""
    run = subprocess.run(
        [sys.executable, *options, "-c", text],
        cwd=folder,  # so that what is installed is tested
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
