"""Layout D: official NanoAOD of version 15, constituents of AK8 jets weighted by PUPPI.

`PFCand_*` holds pt, eta, phi, mass and pdgId of the constituents of AK8 jets up to an absolute eta
of 2.5, pt and mass multiplied by the PUPPI weight; `FatJetPFCand_{jetIdx,pfCandIdx}` links them.
Defined in CMSSW, ``PhysicsTools/NanoAOD/python/jetConstituents_cff.py``, and the scores of jets in
``jetsAK8_cff.py`` beside it.
"""

from collections.abc import Mapping
from typing import ClassVar

from treasure.skim.layout_a import LayoutA

__all__ = ["LayoutD"]

_SCORES = ("H4qvsQCD", "HbbvsQCD", "HccvsQCD", "QCD", "TvsQCD", "WvsQCD", "ZvsQCD")


class LayoutD(LayoutA, kind="D"):
    """Layout A under other names, with fewer columns.

    Where NanoAOD 9 says ``particleNet_TvsQCD``, this says ``particleNetWithMass_TvsQCD``: the same
    discriminator (``pfParticleNetDiscriminatorsJetTags:TvsQCD``), and so for the other six scores
    and the mass (``pfParticleNetMassRegressionJetTags:mass``). The ``particleNet_QCD`` of NanoAOD
    15 is that of another network.
    """

    summary = "NanoAOD 15: PFCand and the link table FatJetPFCand"
    required: ClassVar[tuple[str, ...]] = (
        *(f"PFCands_{name}" for name in ("pt", "eta", "phi", "mass", "pdgId")),
        "FatJetPFCands_jetIdx",
        "FatJetPFCands_pFCandsIdx",
    )
    renamed: ClassVar[Mapping[str, str]] = {
        "PFCands": "PFCand",
        "FatJetPFCands": "FatJetPFCand",
        "FatJetPFCands_pFCandsIdx": "FatJetPFCand_pfCandIdx",
        **{f"FatJet_particleNet_{name}": f"FatJet_particleNetWithMass_{name}" for name in _SCORES},
        "FatJet_particleNet_mass": "FatJet_particleNetLegacy_mass",
    }
    puppi_applied: ClassVar[bool] = True
