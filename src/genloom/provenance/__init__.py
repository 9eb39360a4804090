"""Marks of generated content: written into files and into a signed record beside them, and verified offline."""

from genloom.provenance.identity import Identity, load_identity
from genloom.provenance.mark import Mark
from genloom.provenance.verify import Verdict, verify
from genloom.provenance.writing import Batch, Marker, light

__all__ = ["Batch", "Identity", "Mark", "Marker", "Verdict", "light", "load_identity", "verify"]
