"""Section ``tokenizer``: how jets become tokens, and how the tokenizer is trained."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from treasure.config.section import Section, kind_among

__all__ = [
    "FeatureConfig",
    "JetConstraint",
    "ModelConfig",
    "QuantizerConfig",
    "SampleCheck",
    "TokenizerConfig",
    "TrainingConfig",
]


class FeatureConfig(Section):
    """What of a particle is encoded."""

    kind: Annotated[str, kind_among("kinematic", "particle_flow")] = Field(
        "kinematic",
        description="Feature set. kinematic: log pT (pT in GeV), delta eta and delta phi to the jet"
        " axis. particle_flow: these, and charge, particle class, PUPPI weight, and d0 and dz with"
        " their errors. Or module:Class, a FeatureSet of your own.",
    )
    log_pt_range: tuple[float, float] = Field(
        (-3.0, 8.0),
        description="log(pT / GeV) is clipped to this range, and clipped particles are counted.",
    )
    angle_max: float = Field(
        1.0,
        gt=0,
        description="|delta eta| and |delta phi| are clipped to this, and clipped particles are"
        " counted (AK8 jets: nearly all are below 0.8).",
    )
    impact_max: float = Field(
        20.0, gt=0, description="particle_flow: |d0| and |dz| are clipped to this, in cm."
    )
    impact_error_range: tuple[float, float] = Field(
        (1e-4, 10.0), description="particle_flow: the errors of both are clipped to this, in cm."
    )
    impact_scale: float = Field(
        0.01,
        gt=0,
        description="particle_flow: d0 and dz are encoded as asinh of their ratio to this, in cm:"
        " even near 0, logarithmic beyond, of either sign.",
    )
    weights: dict[str, float] = Field(
        {},
        description="particle_flow: weight of a squared error in charge, class, puppi_weight,"
        " track, d0, d0_error, dz or dz_error against one in log pT or an angle. Where nothing is"
        " said: class and track 1, charge 0.3, errors 0.03, the others 0.1. A weight decides what"
        " codes are spent on: at 0.1, hardly a lepton keeps its class.",
    )
    shift: tuple[float, ...] | None = Field(
        None,
        description="With `scale`: features become (x - shift) * scale, as OmniJet-alpha has it,"
        " one number a feature; null: 0. OmniJet-alpha: 1.8, 0, 0.",
    )
    scale: tuple[float, ...] | None = Field(
        None,
        description="One number a feature; OmniJet-alpha: 1, 3, 3, with `angle_max` 0.8. null:"
        " features are standardised to mean 0 and standard deviation 1 over the training"
        " particles.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="What a feature set of your own needs."
    )

    @model_validator(mode="after")
    def _numbers(self) -> "FeatureConfig":
        if self.scale is None and self.shift is not None:
            raise ValueError("shift is of no effect without scale; give both, or none")
        if self.scale is not None and min(self.scale, default=0.0) <= 0:
            raise ValueError(f"scale: {self.scale} is not above 0 throughout")
        if wrong := {name: value for name, value in self.weights.items() if not value > 0}:
            raise ValueError(f"weights: {wrong} is not above 0")
        low, high = self.impact_error_range
        if not 0 < low < high:
            raise ValueError(f"impact_error_range: 0 < {low} < {high} does not hold")
        return self


class ModelConfig(Section):
    """The networks between features and latent vectors."""

    kind: Annotated[str, kind_among("deep_sets", "normformer", "identity")] = Field(
        "deep_sets",
        description="Model. deep_sets: particle-wise networks which see a sum over all particles of"
        " the jet (arXiv:1810.05165). normformer: transformer blocks with layer norms before and"
        " after attention, as OmniJet-alpha (arXiv:2403.05618). identity: no networks. Or"
        " module:Class, a Model of your own.",
    )
    width: int = Field(64, ge=1, description="Units of the hidden layers.")
    depth: int = Field(2, ge=1, description="Hidden layers of encoder and decoder, each.")
    encoder_context: int = Field(
        0,
        ge=0,
        description="Units of the jet's summary that the encoder sees; 0: particle by particle.",
    )
    decoder_context: int = Field(
        32,
        ge=0,
        description="Units of the jet's summary that the decoder sees; 0: particle by particle.",
    )
    heads: int = Field(
        8, ge=1, description="normformer: attention heads; they share the `width` out evenly."
    )
    blocks: int = Field(4, ge=1, description="normformer: blocks of encoder and decoder, each.")
    mlp_width: int = Field(128, ge=1, description="normformer: hidden units of a block's MLP.")
    dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="normformer: share of attention weights and of hidden units of the MLP that"
        " each training step drops.",
    )
    attention: bool = Field(
        True,
        description="normformer: whether a particle sees the others of its jet. false: attention is"
        " to itself alone, with the same parameters.",
    )
    padded_to: int = Field(
        0,
        ge=0,
        description="normformer: 128: in training, jets are padded to so many slots (longer ones to"
        " the longest) and every slot is computed, as OmniJet-alpha does. 0: only particles are;"
        " the result is the same, sooner.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="What a model of your own needs."
    )

    @property
    def decoder_sees_jet(self) -> bool:
        """Whether a decoded particle depends on the others of its jet."""
        return {"normformer": self.attention, "identity": False}.get(
            self.kind, self.decoder_context > 0
        )

    @model_validator(mode="after")
    def _heads(self) -> "ModelConfig":
        if self.kind == "normformer" and self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be shared out among {self.heads} heads")
        return self


class QuantizerConfig(Section):
    """The bottleneck: latent vectors to integers."""

    kind: Annotated[str, kind_among("vq", "vq_gradient", "rvq", "fsq", "kmeans", "binning")] = (
        Field(
            "vq",
            description="Quantizer. vq: vector quantization with a moving-average codebook"
            " (arXiv:1711.00937). vq_gradient: with a codebook that the optimizer moves, as"
            " OmniJet-alpha. rvq: residual vector quantization, `codebooks` ids a particle"
            " (arXiv:2107.03312). fsq: finite scalar quantization with `levels` (arXiv:2309.15505)."
            " kmeans: weighted k-means, never trained. binning: quantile bins, `levels` a feature."
            " Or module:Class, a Quantizer of your own.",
        )
    )
    codes: int = Field(
        8192,
        ge=2,
        description="Size of a codebook: 8,192 as OmniJet-alpha. fsq and binning: follows from"
        " `levels`.",
    )
    dimension: int = Field(
        4,
        ge=1,
        description="Length of a code: 4 as OmniJet-alpha. fsq and binning: as many as `levels`.",
    )
    codebooks: int = Field(1, ge=1, le=8, description="rvq: codebooks, that is ids of a particle.")
    levels: tuple[int, ...] = Field(
        (),
        description="fsq and binning: levels of each dimension. Their product is the number of"
        " codes, 2^20 at most; with more, binning gives each feature an id of its own.",
    )
    padding: int = Field(
        0,
        ge=0,
        description="128: in training, the empty slots of jets up to 128 particles are quantized"
        " with the particles, as OmniJet-alpha does. 0: real particles only.",
    )
    decay: float = Field(
        0.99,
        gt=0,
        lt=1,
        description="Decay of the exponential moving average which moves the codes, a step.",
    )
    commitment: float = Field(
        2.0,
        ge=0,
        description="Weight of the commitment loss (beta of arXiv:1711.00937). Below 1, latent"
        " vectors drift away from the codes faster than these follow.",
    )
    revive_below: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="A code whose moving-average count of particles falls below this share of the"
        " mean over the codes is moved to a random particle of the batch. 0: never.",
    )
    replace_every: int = Field(
        10,
        ge=0,
        description="vq_gradient: codes that were not used in so many steps move to random"
        " particles. 0: never.",
    )
    beta: float = Field(
        0.9,
        ge=0,
        le=1,
        description="vq_gradient: share of the codes in the commitment loss; of the encoder, 1 -"
        " beta.",
    )
    affine_rate: float = Field(
        2.0,
        ge=0,
        description="vq_gradient: learning rate of a common scale and shift of all codes, relative"
        " to that of everything else (arXiv:2305.08842). 0: none.",
    )
    kmeans_iterations: int = Field(
        10, ge=0, description="Lloyd iterations that place the codes before the first epoch."
    )
    kmeans_particles: int = Field(
        200_000, ge=1, description="Particles, at most, used in those iterations."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="What a quantizer of your own needs."
    )


class TrainingConfig(Section):
    """How the tokenizer is fitted."""

    epochs: int = Field(
        20,
        ge=0,
        description="Passes over the training jets, where neither `max_seconds` nor"
        " `max_jets_seen` is given. 0: only what precedes the first, in any case.",
    )
    max_seconds: float | None = Field(
        None,
        gt=0,
        description="Training ends after so many seconds, summed over restarts; the learning rate"
        " follows the clock. null: after `epochs`, and the same bytes every time.",
    )
    max_jets_seen: int | None = Field(
        None, ge=1, description="Training ends after so many jets. null: after `epochs`."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Training ends when the validation loss was not the best for so many epochs."
        " null: never early.",
    )
    devices: int = Field(
        1,
        ge=1,
        description="Devices (GPUs) that share out every batch, each with a process of its own.",
    )
    precision: Literal["32-true", "bf16-mixed"] = Field(
        "32-true",
        description="Numbers of the networks in training, as Lightning calls them. Quantization is"
        " always in float32, encoding in float64.",
    )
    checkpoint_seconds: float = Field(
        60.0, gt=0, description="A checkpoint is written at every epoch's end and this often."
    )
    jet_pt_loss: float = Field(
        0.0, ge=0, description="Weight of the squared log ratio of decoded and original jet pT."
    )
    jet_mass_loss: float = Field(0.0, ge=0, description="The same of the jet mass.")
    tensorboard: bool = Field(
        False, description="Also log for TensorBoard (needs the package tensorboard)."
    )
    batch_jets: int = Field(256, ge=1, description="Jets a step.")
    learning_rate: float = Field(
        2e-3, gt=0, description="Peak learning rate of AdamW (one-cycle schedule)."
    )
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    gradient_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    pt_weight: float = Field(
        0.5,
        ge=0,
        description="A particle weighs as its pT to this power in the loss and in the codebook:"
        " hard particles make the jet's pT and mass. 0: all the same.",
    )
    max_training_jets: int = Field(
        200_000,
        ge=1,
        description="Jets held in memory for training, at most (0.5 kB each); shared over the"
        " tables in proportion to their jets.",
    )
    max_validation_jets: int = Field(5_000, ge=1, description="The same, for validation.")
    max_test_jets: int = Field(4_000, ge=1, description="The same, for metrics and figures.")
    threads: int = Field(
        1,
        ge=1,
        description="Threads of torch on a CPU. A constant, since the order of sums, and with it"
        " the last bits of the result, depends on it.",
    )


class SampleCheck(Section):
    """What is compared when a shard has been tokenized."""

    jets: int = Field(500, ge=1, description="Jets of each shard which are decoded and compared.")
    pt_tolerance: float = Field(
        0.03, gt=0, description="Allowed |median(decoded / original jet pT) - 1|."
    )
    mass_tolerance: float = Field(
        0.08, gt=0, description="Allowed |median(decoded / original jet mass) - 1|."
    )


class JetConstraint(Section):
    """Choosing the codes of a jet together, so that its four-momentum is kept."""

    candidates: int = Field(
        0,
        ge=0,
        le=64,
        description="Nearest codes that a particle may choose from, when the choice keeps the jet's"
        " pT, mass and direction. 0: always the nearest code.",
    )
    sweeps: int = Field(2, ge=1, description="Rounds over the particles, hardest first.")
    strength: float = Field(
        100.0,
        gt=0,
        description="Weight of the squared relative error of jet pT, mass and direction against"
        " the squared error of a particle's standardised features.",
    )
    pt_weight: float = Field(
        1.0,
        ge=0,
        description="A particle's own error weighs as its pT to this power, relative to the mean of"
        " its jet: soft particles make up for the errors of hard ones, which shape the jet.",
    )


class TokenizerConfig(Section):
    """A tokenizer: features, model, quantizer, training, and the check of its output."""

    features: FeatureConfig = Field(default_factory=FeatureConfig, description="Input features.")
    model: ModelConfig = Field(default_factory=ModelConfig, description="Encoder and decoder.")
    quantizer: QuantizerConfig = Field(default_factory=QuantizerConfig, description="Codebook.")
    jet_constraint: JetConstraint = Field(
        default_factory=JetConstraint, description="Codes that keep the jet's four-momentum."
    )
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="Training.")
    check: SampleCheck = Field(default_factory=SampleCheck, description="Check of each shard.")

    @model_validator(mode="after")
    def _ranges(self) -> "TokenizerConfig":
        low, high = self.features.log_pt_range
        if not low < high:
            raise ValueError(f"features.log_pt_range: {low} is not below {high}")
        if self.quantizer.kind in ("fsq", "binning") and (
            not self.quantizer.levels or min(self.quantizer.levels) < 2
        ):
            raise ValueError(
                f"quantizer.levels: {self.quantizer.kind} needs two levels or more for each"
                " dimension"
            )
        if self.quantizer.kind == "fsq" and math.prod(self.quantizer.levels) > 2**20:
            raise ValueError(
                f"quantizer.levels: {math.prod(self.quantizer.levels):,} codes; fsq takes 2^20 at"
                " most"
            )
        if self.jet_constraint.candidates and self.quantizer.kind in ("fsq", "binning"):
            raise ValueError(
                f"jet_constraint.candidates: a quantizer {self.quantizer.kind} has no nearest codes"
                " to choose from; set it to 0"
            )
        if self.jet_constraint.candidates and self.model.decoder_sees_jet:
            raise ValueError(
                "jet_constraint.candidates needs a decoder that takes each particle by itself:"
                " model.decoder_context 0, or of a normformer, model.attention false"
            )
        return self
