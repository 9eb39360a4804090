"""An optional step in C++ for models of sequences, compiled on the machine that uses it."""
