"""Comparing generators: trained under an equal budget or already there, judged alike, in one table and one page."""

from genloom.comparison.compare import Comparison, compare

__all__ = ["Comparison", "compare"]
