"""Figures of quality as pure functions on arrays: they know nothing of data sets, runs or feature spaces."""
