"""`python tests/mutation/mutants.py [PATTERN …]`: makes the mutants in `mutants/`, then runs those that were not yet run.

The first half is what `mutmut run` does before it runs any (boxed/mutmut `__main__.py`); runner.py is the other half. Run as
a file, it has not imported the package `tests`, which must be that of `mutants/`.
"""

import os
import sys
from pathlib import Path

from mutmut.__main__ import (  # type: ignore[import-not-found]  # is in an environment of its own
    _run_git,
    collect_or_load_stats,
    copy_also_copy_files,
    copy_src_dir,
    create_mutants,
    get_mutant_runner,
    setup_source_paths,
)
from mutmut.configuration import config  # type: ignore[import-not-found]
from mutmut.mutation.trampoline import set_mutant_under_test  # type: ignore[import-not-found]

STATS = Path("mutants", "mutmut-stats.json")
PROFILE = ("-p", "tests.mutation.runner", "--hypothesis-profile=mutants", "--tb=no", "--rootdir=.")


def make() -> None:
    """Make the mutants of what has changed, and note which test reaches which function."""
    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    setup_source_paths()
    create_mutants(os.cpu_count())
    Path("mutants", "commit").write_text(_run_git(["rev-parse", "--short", "HEAD"]) or "")
    STATS.unlink(missing_ok=True)  # of functions that have changed mutmut forgets the tests that have not
    collect_or_load_stats(get_mutant_runner(1))


def main() -> None:
    make()
    os.environ.pop("MUTANT_UNDER_TEST")
    os.chdir("mutants")
    tests = (*config().pytest_add_cli_args, *config().pytest_add_cli_args_test_selection)
    patterns = sys.argv[1:] or ["*"]
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *PROFILE, *tests, "--mutants", *patterns])  # noqa: S606


if __name__ == "__main__":
    main()
