"""What decoding restores that a code cannot say: the scale of pT, and the particles' mass.

A code stands for many particles; decoding returns about their mean log pT, and exp(mean log pT) is
below the mean pT. And the mass of a particle is not among the features, so decoding needs one for
all. Both numbers are fitted once on training jets, without labels, and are part of the artefact.
"""

from pydantic import Field

from treasure.config.section import Section

__all__ = ["Calibration"]

CHARGED_PION_MASS = 0.13957039  # GeV, Particle Data Group 2024


class Calibration(Section):
    """Constants of the decoder beyond its networks."""

    pt_scale: float = Field(
        1.0, gt=0, description="Factor on every decoded pT: the median jet pT response becomes 1."
    )
    particle_mass: float = Field(
        CHARGED_PION_MASS,
        ge=0,
        description="Mass of every decoded particle, GeV: the median jet mass response becomes 1.",
    )
