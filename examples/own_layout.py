"""An input layout of one's own: candidates and their links to jets under other names.

Named for a dataset::

    datasets:
      mine:
        layout: examples.own_layout:OtherNames
        …
"""

from typing import ClassVar

from treasure.skim.layout_a import LayoutA

__all__ = ["OtherNames"]


class OtherNames(LayoutA):
    """Layout A where `PFCands` is called `Particle`, and the table of links `JetParticle`.

    The name of a collection leads to that of the input, and that of a branch goes before it. Where
    more than names differs, subclass `treasure.skim.stored_candidates.StoredCandidates` and say
    which candidates are a jet's, or `treasure.skim.layouts.Layout` and give `candidates`; what the
    input lacks can be computed in `computed_column`.
    """

    summary = "Particle and the link table JetParticle"
    renamed: ClassVar[dict[str, str]] = {
        "PFCands": "Particle",
        "FatJetPFCands": "JetParticle",
        "FatJetPFCands_pFCandsIdx": "JetParticle_particleIdx",
    }
