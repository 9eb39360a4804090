"""Judging a generator: feature spaces, figures with references and intervals, the report."""
