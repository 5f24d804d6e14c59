"""Configuration of simulated datasets: event generation, jets, and the detector response."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from treasure.config.section import Section

__all__ = ["Detector", "SimulationSource"]

PositiveFloat = Annotated[float, Field(gt=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
#: One number for each region |eta| < 0.5, 0.5-1.5, 1.5-2.5 of the tracker.
ThreeRegions = tuple[PositiveFloat, PositiveFloat, PositiveFloat]
#: One number for the barrel (|eta| < 1.5) and one for the endcaps.
BarrelEndcap = tuple[PositiveFloat, PositiveFloat]
EfficiencyBarrelEndcap = tuple[Fraction, Fraction]


class Detector(Section):
    """Parametrised response of a CMS-like detector; the defaults describe CMS in Run 2."""

    beam_spot_sigma_xy: PositiveFloat = Field(
        0.0012,
        description="Transverse width of the luminous region [cm]. CMS arXiv:1405.6569, sec. 6.2.",
    )
    beam_spot_sigma_z: PositiveFloat = Field(
        3.5,
        description="Length of the luminous region [cm]. CMS 2016, beam spot of the simulation.",
    )
    vertex_sigma_xy: PositiveFloat = Field(
        0.0012,
        description="Resolution of the primary vertex across the beam [cm], many tracks. "
        "CMS arXiv:1405.6569, sec. 6.1 (10-12 um).",
    )
    vertex_sigma_z: PositiveFloat = Field(
        0.0012,
        description="Resolution of the primary vertex along the beam [cm], many tracks. "
        "CMS arXiv:1405.6569, sec. 6.1 (10-12 um).",
    )
    tracker_eta_max: PositiveFloat = Field(
        2.5, description="Acceptance of the tracker in |eta|. CMS JINST 3 S08004, sec. 3.1."
    )
    track_pt_min: PositiveFloat = Field(
        0.3,
        description="Lowest pT of a charged candidate [GeV]. The iterative tracking of CMS "
        "starts at 0.1 GeV (arXiv:1706.04965, table 1), where the efficiency is low.",
    )
    track_radius_max: PositiveFloat = Field(
        60.0,
        description="Production radius at which the tracking efficiency, falling linearly, reaches "
        "zero [cm]. Approximates CMS arXiv:1405.6569, fig. 12.",
    )
    hadron_efficiency_low: EfficiencyBarrelEndcap = Field(
        (0.70, 0.60),
        description="Tracking efficiency of charged hadrons with pT < 1 GeV, barrel and endcap. "
        "Delphes CMS card, arXiv:1307.6346.",
    )
    hadron_efficiency: EfficiencyBarrelEndcap = Field(
        (0.95, 0.85),
        description="Tracking efficiency of charged hadrons with pT > 1 GeV, barrel and endcap. "
        "Delphes CMS card, arXiv:1307.6346.",
    )
    electron_efficiency: EfficiencyBarrelEndcap = Field(
        (0.95, 0.83),
        description="Tracking efficiency of electrons with pT > 1 GeV, barrel and endcap. "
        "Delphes CMS card, arXiv:1307.6346.",
    )
    electron_efficiency_low: EfficiencyBarrelEndcap = Field(
        (0.73, 0.50),
        description="Tracking efficiency of electrons with pT < 1 GeV, barrel and endcap. "
        "Delphes CMS card, arXiv:1307.6346.",
    )
    muon_efficiency: EfficiencyBarrelEndcap = Field(
        (0.99, 0.98),
        description="Efficiency of muons that reach the muon chambers, barrel and endcap. "
        "Delphes CMS card, arXiv:1307.6346.",
    )
    muon_pt_min: PositiveFloat = Field(
        3.0,
        description="Transverse momentum from which a muon crosses calorimeters and coil and "
        "is identified [GeV]; below, a hadron. CMS JINST 3 S08004, ch. 7.",
    )
    electron_pt_min: PositiveFloat = Field(
        5.0,
        description="Transverse momentum from which an electron in a jet is identified [GeV]; "
        "below, a charged hadron. A sharp stand-in for the selection of "
        "CMS arXiv:1706.04965, sec. 4.3.",
    )
    track_pt_constant: ThreeRegions = Field(
        (0.01, 0.015, 0.025),
        description="Relative pT resolution of hadron and muon tracks, constant term, in "
        "|eta| < 0.5, < 1.5, < 2.5. Delphes CMS card after CMS arXiv:1405.6569.",
    )
    track_pt_slope: ThreeRegions = Field(
        (1.5e-4, 2.5e-4, 5.5e-4),
        description="Relative pT resolution of hadron tracks, term linear in pT [1/GeV]; added in "
        "quadrature. Delphes CMS card after CMS arXiv:1405.6569.",
    )
    muon_pt_slope: ThreeRegions = Field(
        (1.0e-4, 1.5e-4, 3.5e-4),
        description="The same for muons [1/GeV]. Delphes CMS card, arXiv:1307.6346.",
    )
    electron_pt_constant: ThreeRegions = Field(
        (0.03, 0.05, 0.15),
        description="Relative pT resolution of electron tracks, constant term. Delphes CMS card.",
    )
    electron_pt_slope: ThreeRegions = Field(
        (1.3e-3, 1.7e-3, 3.1e-3),
        description="The same, term linear in pT [1/GeV]. Delphes CMS card, arXiv:1307.6346.",
    )
    track_angle_sigma: PositiveFloat = Field(
        2e-3,
        description="Resolution of a track's azimuth and pseudorapidity [rad] at 1 GeV, falling as "
        "1/pT. CMS arXiv:1405.6569, fig. 14.",
    )
    d0_constant: PositiveFloat = Field(
        0.0014,
        description="Transverse impact parameter resolution at high pT [cm]. Between the 10 um of "
        "isolated tracks in CMS arXiv:1405.6569, fig. 15, and the 25 um at 10 GeV in jets of "
        "arXiv:1706.04965, sec. 2; the value describes d0Err in CMS simulation.",
    )
    d0_scattering: PositiveFloat = Field(
        0.0075,
        description="Multiple scattering in the transverse impact parameter [cm GeV], divided by "
        "pT sqrt(sin theta). As d0_constant; CMS quotes 90 um at 1 GeV (arXiv:1706.04965, sec. 2).",
    )
    dz_constant: PositiveFloat = Field(
        0.0022,
        description="Longitudinal impact parameter resolution at high pT [cm]. As d0_constant; "
        "CMS quotes 45 um at 10 GeV (arXiv:1706.04965, sec. 2).",
    )
    dz_scattering: PositiveFloat = Field(
        0.0080,
        description="Multiple scattering in the longitudinal impact parameter [cm GeV], divided "
        "by pT sin(theta)^(3/2). As d0_constant; CMS quotes 150 um at 1 GeV "
        "(arXiv:1706.04965, sec. 2).",
    )
    impact_error_spread: Fraction = Field(
        0.25,
        description="Relative spread (log-normal) of the impact parameter resolution from track to "
        "track, which the stored d0Err and dzErr follow. Chosen to resemble CMS simulation.",
    )
    impact_tail_fraction: Fraction = Field(
        0.05,
        description="Share of tracks whose impact parameter smearing is three times its error "
        "(hits shared or lost). Shape of CMS arXiv:1405.6569, sec. 5.2; value chosen here.",
    )
    track_details_pt_min: PositiveFloat = Field(
        0.5,
        description="Transverse momentum above which charged candidates keep their impact "
        "parameters [GeV]; below, d0, d0Err, dz and dzErr are -1. CMS MiniAOD of Run 2, "
        "packedPFCandidates.",
    )
    magnetic_field: PositiveFloat = Field(
        3.8, description="Field of the solenoid [T]. CMS JINST 3 S08004, ch. 2."
    )
    calorimeter_radius: PositiveFloat = Field(
        1.29, description="Inner radius of the barrel ECAL [m]. CMS JINST 3 S08004, ch. 4."
    )
    ecal_stochastic: BarrelEndcap = Field(
        (0.028, 0.057),
        description="ECAL energy resolution, term over sqrt(E) [sqrt(GeV)], barrel (test beam) and "
        "endcap. CMS arXiv:1706.04965, sec. 2; JINST 3 S08004, ch. 4.",
    )
    ecal_noise: BarrelEndcap = Field(
        (0.12, 0.20),
        description="ECAL energy resolution, noise term [GeV], barrel (test beam) and endcap. "
        "CMS arXiv:1706.04965, sec. 2.",
    )
    ecal_constant: BarrelEndcap = Field(
        (0.01, 0.025),
        description="ECAL energy resolution, constant term; in situ rather than the 0.003 of the "
        "test beam. CMS arXiv:1306.2016.",
    )
    ecal_cell: BarrelEndcap = Field(
        (0.0174, 0.030),
        description="ECAL crystal size in eta and phi, barrel and (mean) endcap. "
        "CMS JINST 3 S08004, ch. 4.",
    )
    ecal_merging_cells: int = Field(
        3,
        ge=1,
        description="Photons in the same square of this many crystals in eta and phi are one "
        "cluster: a cluster's seed is the highest of 3 x 3 crystals. "
        "CMS arXiv:1706.04965, sec. 3.4.",
    )
    photon_energy_min: BarrelEndcap = Field(
        (0.3, 0.6),
        description="Lowest energy of a photon candidate [GeV], barrel and endcap, at the seed "
        "thresholds of CMS arXiv:1706.04965, table 3.",
    )
    hcal_stochastic: PositiveFloat = Field(
        1.10,
        description="Hadron energy resolution, term over sqrt(E) [sqrt(GeV)]. "
        "CMS arXiv:1706.04965, sec. 2.",
    )
    hcal_constant: PositiveFloat = Field(
        0.09,
        description="Hadron energy resolution, constant term. CMS arXiv:1706.04965, sec. 2.",
    )
    hcal_cell: BarrelEndcap = Field(
        (0.087, 0.17),
        description="HCAL tower size in eta and phi for |eta| < 1.6 and beyond. "
        "CMS JINST 3 S08004, ch. 5.",
    )
    hadron_energy_min: PositiveFloat = Field(
        1.0, description="Lowest energy of a neutral hadron candidate [GeV]. Delphes CMS card."
    )
    excess_significance: PositiveFloat = Field(
        1.0,
        description="A calorimeter tower with tracks gives a neutral hadron where its energy "
        "exceeds the sum of track momenta by this many standard deviations. "
        "CMS arXiv:1706.04965, sec. 4.4.",
    )
    hf_stochastic: tuple[PositiveFloat, PositiveFloat] = Field(
        (2.08, 2.70),
        description="Forward calorimeter energy resolution, term over sqrt(E) [sqrt(GeV)], for "
        "electromagnetic and hadronic energy. Delphes CMS card, arXiv:1307.6346.",
    )
    hf_constant: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.107, 0.130),
        description="Forward calorimeter energy resolution, constant term, electromagnetic and "
        "hadronic. Delphes CMS card, arXiv:1307.6346.",
    )
    hf_cell: PositiveFloat = Field(
        0.175, description="Forward tower size in eta and phi. CMS JINST 3 S08004, sec. 5.5."
    )
    calorimeter_eta_max: PositiveFloat = Field(
        5.0, description="Acceptance of the calorimeters in |eta|. CMS JINST 3 S08004, ch. 5."
    )


class SimulationSource(Section):
    """Events generated with Pythia 8 and passed through the parametrised detector."""

    kind: Literal["simulation"] = Field("simulation", description="Kind of the source.")
    process: Literal["qcd", "ttbar"] = Field(
        description="Hard process: QCD dijets, or top pairs with both W bosons decaying to quarks."
    )
    n_files: int = Field(2, ge=1, description="Number of files; each is one branch of the task.")
    events_per_file: int = Field(1000, ge=1, description="Generated events in each file.")
    energy: PositiveFloat = Field(
        13_000.0, description="Proton-proton centre-of-mass energy [GeV] (LHC Run 2)."
    )
    pthat_min: PositiveFloat = Field(
        300.0, description="Lowest transverse momentum of the hard process [GeV]."
    )
    pthat_max: PositiveFloat | None = Field(
        None, description="Highest transverse momentum of the hard process [GeV]; null: no limit."
    )
    bias_power: float = Field(
        5.0,
        ge=0.0,
        description="Events are generated with a probability enhanced by (pTHat / bias_reference) "
        "to this power and carry the inverse as weight; 0: unweighted events. "
        "Pythia 8.3 manual, arXiv:2203.11601, PhaseSpace:bias2Selection.",
    )
    bias_reference: PositiveFloat = Field(
        300.0, description="Transverse momentum at which the bias is one [GeV]."
    )
    jet_radius: PositiveFloat = Field(
        0.8, description="Radius of the anti-kt jets (arXiv:0802.1189); 0.8 as CMS AK8 jets."
    )
    jet_pt_min: PositiveFloat = Field(
        170.0, description="Lowest pT of a stored jet [GeV]; 170 as for CMS NanoAOD FatJet."
    )
    softdrop_zcut: Fraction = Field(
        0.1, description="Soft-drop momentum fraction threshold (arXiv:1402.2657), as CMS."
    )
    softdrop_beta: float = Field(
        0.0, description="Soft-drop angular exponent (arXiv:1402.2657), as CMS."
    )
    settings: tuple[str, ...] = Field(
        (),
        description="More Pythia settings, applied last, for example 'PartonLevel:MPI = off'.",
    )
    detector: Detector = Field(
        default_factory=lambda: Detector.model_validate({}), description="The detector response."
    )

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> SimulationSource:
        if self.pthat_max is not None and self.pthat_max <= self.pthat_min:
            raise ValueError(
                f"pthat_max is {self.pthat_max}; it must be above pthat_min = {self.pthat_min}"
            )
        return self
