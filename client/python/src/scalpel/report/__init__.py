"""Reports: one page, with all that it needs inside, about the answer to a request.

>>> html = scalpel.report.run_report(run, model.info, "What it is about")
"""

from scalpel.report.run_report import plan_report, run_report
from scalpel.report.sweep_report import sweep_report

__all__ = ["plan_report", "run_report", "sweep_report"]
