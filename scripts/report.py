"""Write the report of a run again: python scripts/report.py run=RUN"""

import sys

from dlcourse.cli import guarded, parse_script_overrides
from dlcourse.runs.directory import from_here, open_run


def report(words: list[str]) -> int:
    overrides = parse_script_overrides(words, "run")
    path, _ = open_run(overrides.text("run"))
    from dlcourse.data.fingerprint import changes
    from dlcourse.report.page import build_report
    from dlcourse.runs.trained import restore

    model = data = None
    problem = ""
    if (path / "metrics.json").exists():  # an unfinished run is reported from its files alone
        _, model, data = restore(path, overrides)
        if changed := "; ".join(changes(data)):
            problem = f"Its data has changed since ({changed}): here is what the run stored, without plots of outputs."
            print(problem, file=sys.stderr)
            model = data = None
        else:
            data.setup()
    print(f"report: {from_here(build_report(path, model, data, problem=problem).path)}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(report))
