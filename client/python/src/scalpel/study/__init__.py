"""x"""
from scalpel.study.lens import LogitLens, logit_lens
