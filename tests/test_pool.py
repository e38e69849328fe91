"""Claims about the thread pool of the C core, held by a driver in C, without Python in the way."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DRIVER = ROOT / "tests/native/pool_driver.c"
POOL = ROOT / "src_c/pool.c"

CLAIMS = [
    "every_item_once 100000",
    "workers_help",
    "late_workers_stay_out_of_newer_jobs",
    "a_task_may_run_a_job",
    "callers_at_once 5000",
    "forks_after_use 100",
    "forks_in_use 100",
    "forks_of_the_owner 100",
    "signals_reach_the_main_thread",
    "exit_while_they_spin",
    "exit_while_they_sleep",
    "workers_sleep_when_idle",
]
if sys.platform == "linux":
    CLAIMS += ["fewer_workers_where_there_are_no_more", "late_workers_are_not_waited_for"]

# What waits: futexes where there are some, a condition of POSIX threads elsewhere.
WAITS = {"futex": [], "condition": ["-DFNN_NO_FUTEX"]}

# A fault to plant in the pool: the right text, the wrong one, and a claim that must notice.
FAULTS = {
    "the caller leaves workers behind": (
        "while (atomic_load(&of->word) & INSIDE)",
        "while (0)",
        "workers_help",
    ),
    "workers do not say that they are in": (
        "take(&own->word, INSIDE)",
        "take(&own->word, 0)",
        "workers_help",
    ),
    "one item is done by two": (
        "atomic_compare_exchange_weak(word, &value, (value - 1) | flag)",
        "(sched_yield(), atomic_store(word, (value - 1) | flag), 1)",
        "every_item_once 100000",
    ),
    "late workers join the job that they know": (
        "if (!first) {",
        "if (!first) { nanosleep(&(struct timespec){0, 200000}, NULL); work(&own->job, worker, 0);",
        "late_workers_stay_out_of_newer_jobs",
    ),
    "nobody wakes the workers": ("& ASLEEP)", "& 0)", "workers_help"),
    "nobody wakes the caller": ("& AWAITED)", "& 0)", "workers_help"),
    "workers never sleep": (
        "spin_on(word, value, other_cpu);",
        "while (atomic_load(word) == value)\n;",
        "workers_sleep_when_idle",
    ),
    "a child inherits workers": ("pool.workers = 0;", "", "forks_after_use 1"),
    "a child inherits a run": (
        "(atomic_load(&pool.owner) != (uintptr_t)pthread_self())",
        "(atomic_load(&pool.owner) == (uintptr_t)pthread_self())",
        "forks_in_use 50",
    ),
    "workers take signals": (
        "sigfillset(&all)",
        "sigemptyset(&all)",
        "signals_reach_the_main_thread",
    ),
}


def build(folder, *flags, pool=POOL):
    """Compile the driver with a pool, as strictly as the core; return the program."""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        pytest.skip("there is no C compiler")
    program = folder / "pool_driver"
    command = [*compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", *flags]
    command += [f"-I{ROOT / 'src_c'}", str(pool), str(DRIVER), "-o", str(program), "-pthread"]
    subprocess.run(command, check=True)
    return program


def claim_holds(program, claim, seconds=60):
    """Return whether the claim holds, and what the driver said."""
    try:
        result = subprocess.run(
            [str(program), *claim.split()],
            stderr=subprocess.PIPE,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return False, "it hangs"
    return result.returncode == 0, f"status {result.returncode}: {result.stderr}"


@pytest.fixture(scope="module", params=WAITS)
def driver(request, tmp_path_factory):
    """Return the driver with every way to wait."""
    return build(tmp_path_factory.mktemp(request.param), *WAITS[request.param])


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_pool_keeps_its_promises(driver, claim):
    holds, said = claim_holds(driver, claim)
    assert holds, said


@pytest.mark.parametrize("fault", FAULTS)
def test_the_driver_notices_a_planted_fault(fault, tmp_path):
    right, wrong, claim = FAULTS[fault]
    text = POOL.read_text()
    assert right in text
    faulty = tmp_path / "pool.c"
    faulty.write_text(text.replace(right, wrong))
    program = build(tmp_path, "-Wno-unused", pool=faulty)
    assert not claim_holds(program, claim, seconds=2)[0]
