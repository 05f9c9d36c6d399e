"""The lecture, run: every experiment, and a page of what was expected and obtained: python scripts/course.py   (--help)

What has finished on the same code is kept, so that it can be stopped and continued.
0: every claim is met; 1: one is not.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path

from dlcourse.cli import guarded
from dlcourse.runs.directory import from_here


def main(words: list[str]) -> int:
    parser = ArgumentParser(prog="course.py", description=__doc__)
    parser.add_argument("names", nargs="*", help="experiments, or how their names begin (all)")
    parser.add_argument("--folder", type=Path, default=Path("runs/course"), help="where they are run (runs/course)")
    parser.add_argument("--short", action="store_true", help="leave out those that take more than ten minutes")
    parser.add_argument("--keep", action="store_true", help="keep what has finished on other code, too")
    parser.add_argument("--page", action="store_true", help="run nothing: only build the page of what is there")
    given = parser.parse_args(words)
    from dlcourse.report.course import build_course, course, experiments

    every = experiments(given.folder)
    if lost := [name for name in given.names if not any(each.name.startswith(name) for each in every)]:
        parser.error(f"no experiment with a claim begins with {' or '.join(lost)}")
    named = [each for each in every if each.name.startswith(tuple(given.names) or "")]
    chosen = [each for each in named if not (given.short and each.is_long)]
    if not chosen:
        parser.error(f"--short leaves nothing of {' and '.join(given.names)}")
    if not given.page:
        course(chosen, given.keep, lambda line: print(line, flush=True))
    given.folder.mkdir(parents=True, exist_ok=True)
    page = build_course(every, given.folder / "course.html")
    unmet = [each.name for each in chosen if not each.is_met]
    print(f"{len(chosen) - len(unmet)} of {len(chosen)} claims are met" + f", but not {', '.join(unmet)}" * bool(unmet))
    print(f"course: {from_here(page.resolve())}")
    return int(bool(unmet))


if __name__ == "__main__":
    sys.exit(guarded(main))
