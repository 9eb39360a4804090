"""Pure modules, generic over 1, 2 and 3 spatial axes. Weights that are not hidden matrices are marked with
`core.optim.edge`."""
