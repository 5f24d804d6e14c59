"""Section ``selection``: which events, jets and candidates are kept."""

from typing import Literal

from pydantic import Field, model_validator

from treasure.config.section import Section

__all__ = ["Selection"]


class Selection(Section):
    """Event and jet selection; `config/selections/aoj.yaml` is the one of Aspen Open Jets."""

    triggers: list[str] = Field(
        default_factory=list,
        description="HLT paths, OR'd: an event needs one of them. A path that is absent from a file"
        " counts as not fired, and is counted. An empty list asks for none.",
    )
    filters: list[str] = Field(
        default_factory=list,
        description="Noise filters (Flag_*), AND'd: an event needs all of them. A filter that is"
        " absent from a file is an error.",
    )
    golden_json: str | None = Field(
        None,
        description="The JSON of validated luminosity sections, for collision data: a path, or"
        " record:<id> to get it from the CERN Open Data portal (record:14220 for 2016). null: every"
        " section is used.",
    )
    golden_json_adler32: str | None = Field(
        None,
        pattern="^[0-9a-fA-F]{1,8}$",
        description="Adler-32 of that JSON in hexadecimal, as the CERN Open Data portal gives it;"
        " another file is an error. null: not checked.",
    )
    jet_pt_min: float = Field(300.0, ge=0, description="AK8 jets: pt above this, GeV.")
    jet_abs_eta_max: float = Field(2.5, gt=0, description="AK8 jets: |eta| below this.")
    jet_id: int | None = Field(
        6,
        description="AK8 jets: FatJet_jetId equal to this (6: tight and tight lepton veto). "
        "null: not asked for.",
    )
    softdrop_mass_min: float | None = Field(
        None, ge=0, description="AK8 jets: soft-drop mass above this, GeV. null: no cut."
    )
    softdrop_mass_max: float | None = Field(
        None, gt=0, description="AK8 jets: soft-drop mass below this, GeV. null: no cut."
    )
    matching_radius: float = Field(
        0.8,
        gt=0,
        description="Generator matching: the quarks are closer than this deltaR to the jet axis"
        " (0.8: the radius of the jets).",
    )
    max_candidates: int = Field(
        150,
        ge=1,
        description="Candidates kept of a jet: the second dimension of PFCands in the jet table"
        " (150 in Aspen Open Jets).",
    )
    candidate_order: Literal["hardest", "aoj"] = Field(
        "hardest",
        description="Which candidates are kept where a jet has more. hardest: the highest in pt."
        " aoj: the first in the file, as the Aspen Open Jets maker did. Both: by falling pt.",
    )
    apply_puppi: bool = Field(
        False,
        description="Multiply the momenta of the candidates by their PUPPI weight, and drop those"
        " of weight 0. false: as stored, weight beside, as in Aspen Open Jets. Layout D has"
        " weighted momenta always.",
    )
    events_per_chunk: int = Field(
        5_000,
        ge=1,
        description="Events read at once: bounds the memory, and makes one part of the skim each.",
    )

    @model_validator(mode="after")
    def _window(self) -> "Selection":
        low, high = self.softdrop_mass_min, self.softdrop_mass_max
        if low is not None and high is not None and low >= high:
            raise ValueError(
                f"softdrop_mass_min ({low}) is not below softdrop_mass_max ({high}): no jet passes"
            )
        return self
