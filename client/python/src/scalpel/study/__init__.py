"""Studies: experiments made of the client's calls, and what came of them.

>>> from scalpel import study
>>> lens = study.logit_lens(model, "The capital of France is")
>>> html = study.study_page(model)
"""

from scalpel.study.lens import LogitLens, logit_lens
from scalpel.study.page import Experiment, six, study_page

__all__ = ["Experiment", "LogitLens", "logit_lens", "six", "study_page"]
