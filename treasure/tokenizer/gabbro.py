"""gabbro's tokenizer (OmniJet-alpha, arXiv:2403.05618) as a tokenizer of ours that decodes.

A folder holds ``config.yaml``, ``codebook.npz`` and ``decoder_weights.npz``: plain arrays, so that
nothing is unpickled. The encoder is not among them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from treasure.config.tokenizer import ModelConfig, TokenizerConfig
from treasure.errors import DataError
from treasure.store import checksums
from treasure.tokenizer.arrays import read_npz
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.calibration import Calibration
from treasure.tokenizer.normformer import NormFormer

__all__ = ["DecodingNormFormer", "import_gabbro"]

_CONFIG, _CODEBOOK, _WEIGHTS = "config.yaml", "codebook.npz", "decoder_weights.npz"
_FEATURES = ("part_pt", "part_etarel", "part_phirel")
# Decoded values are not clipped there: limits that no particle reaches.
_WIDEST_LOG_PT, _WIDEST_ANGLE = 30.0, 10.0

# Parts of a block: gabbro's name → ours
_BLOCK = {
    "norm1": "before",
    "attn.in_proj_": "inward.",
    "attn.out_proj": "outward",
    "norm2": "after",
    "mlp.0": "norm",
    "mlp.1": "up",
    "mlp.4": "down",
}


class DecodingNormFormer(NormFormer):
    """A `NormFormer` of which only the decoder is known."""

    def __init__(self, config: ModelConfig, features: int, dimension: int) -> None:
        super().__init__(config, features, dimension)
        self.encoder = nn.Identity()  # type: ignore[assignment]

    def encode(self, features: Tensor, owner: Tensor, jets: int) -> Tensor:
        raise DataError(
            "this tokenizer was imported with its decoder alone, and cannot encode; train one of"
            " your own"
        )


def import_gabbro(source: Path, directory: Path) -> list[Path]:
    """Write the tokenizer of a gabbro folder as an artefact of ours, which decodes its tokens.

    Parameters
    ----------
    source
        The folder with the three files.
    directory
        Where the artefact goes.

    Returns
    -------
    Its files.

    Raises
    ------
    DataError
        If a file is missing or damaged, or they do not belong together.
    """
    config = _configuration(source / _CONFIG)
    codebook = _codebook(source / _CODEBOOK)
    weights = _arrays(source / _WEIGHTS)
    shift, scale = _standardisation(config, source / _CONFIG)
    model = _section(config, source / _CONFIG, "model", "model_kwargs")
    sizes = {
        "hidden_dim": _shape(weights, "latent_projection_out.weight", source)[0],
        "latent_dim": codebook.shape[1],
        "num_blocks": len({n.split(".")[2] for n in weights if n.startswith("decoder_normformer")}),
    }
    codes = _section(config, source / _CONFIG, "model", "model_kwargs", "vq_kwargs")
    said = {name: model.get(name) for name in sizes} | {"num_codes": codes.get("num_codes")}
    found = sizes | {"num_codes": len(codebook)}
    if said != found:
        raise DataError(f"{source}: {_CONFIG} says {said}, but the weights are of {found}")
    heads = model.get("num_heads")
    if not isinstance(heads, int) or heads < 1 or sizes["hidden_dim"] % heads:
        raise DataError(
            f"{source / _CONFIG}: num_heads is {heads}; {sizes['hidden_dim']} units cannot be"
            " shared out"
        )
    try:
        settings = TokenizerConfig.model_validate(
            {
                "features": {
                    "kind": "kinematic",
                    "log_pt_range": (-_WIDEST_LOG_PT, _WIDEST_LOG_PT),
                    "angle_max": _WIDEST_ANGLE,
                    "shift": shift,
                    "scale": scale,
                },
                "model": {
                    "kind": f"{__name__}:{DecodingNormFormer.__name__}",
                    "width": sizes["hidden_dim"],
                    "heads": heads,
                    "blocks": sizes["num_blocks"],
                    "mlp_width": _shape(
                        weights, "decoder_normformer.blocks.0.mlp.1.weight", source
                    )[0],
                },
                "quantizer": {
                    "kind": "vq_gradient",
                    "codes": len(codebook),
                    "dimension": codebook.shape[1],
                    "affine_rate": 0.0,  # the scale and shift are in the codes
                },
            }
        )
        tokenizer = Tokenizer(settings)
        tokenizer.load_state(_state(weights, codebook))
    except (ValidationError, RuntimeError) as error:
        raise DataError(f"{source}: not a tokenizer of gabbro ({error})") from error
    tokenizer.feature_set.mean = np.array(shift)
    tokenizer.feature_set.std = 1 / np.array(scale)
    tokenizer.calibration = Calibration(pt_scale=1.0, angle_scale=1.0, particle_mass=0.0)
    tokenizer.provenance = {
        "imported_from": "gabbro",
        "files": {
            name: checksums(source / name)["sha256"] for name in (_CONFIG, _CODEBOOK, _WEIGHTS)
        },
    }
    tokenizer.save(directory)
    return [Path(directory)]


def _configuration(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; gabbro's configuration was expected") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: not a YAML file ({error})") from error
    return found if isinstance(found, dict) else {}


def _section(config: dict[str, Any], path: Path, *keys: str) -> dict[str, Any]:
    found: Any = config
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise DataError(f"{path}: no section {'.'.join(keys)}; not a configuration of gabbro")
    return found


def _standardisation(
    config: dict[str, Any], path: Path
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Shift and scale of log pt and the two angles: networks see (x - shift) · scale."""
    features = _section(config, path, "data", "dataset_kwargs_common", "feature_dict")
    if tuple(features) != _FEATURES:
        raise DataError(
            f"{path}: features {', '.join(map(str, features))}; {', '.join(_FEATURES)} can be"
            " imported"
        )
    shift, scale = [], []
    for name, about in features.items():
        about = about if isinstance(about, dict) else {}
        functions = (about.get("func"), about.get("inv_func"))
        if functions != (("np.log", "np.exp") if name == "part_pt" else (None, None)):
            raise DataError(
                f"{path}: {name} is transformed by {functions}, which is not known here"
            )
        shift.append(about.get("subtract_by", 0))
        scale.append(about.get("multiply_by", 1))
    numbers = [*shift, *scale]
    if not all(isinstance(x, int | float) and np.isfinite(x) for x in numbers) or min(scale) <= 0:
        raise DataError(f"{path}: subtract_by {shift} and multiply_by {scale} are no transforms")
    return tuple(map(float, shift)), tuple(map(float, scale))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    found = read_npz(path)
    for name, values in found.items():
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            raise DataError(f"{path}: {name} is {values.dtype}, or not finite; get the file again")
    return found


def _codebook(path: Path) -> NDArray[np.float32]:
    """(K, D) codes with their scale and bias."""
    arrays = _arrays(path)
    try:
        effective = np.asarray(arrays["codebook_effective"], np.float32)
        made = arrays["affine_scale"] * arrays["codebook_raw"] + arrays["affine_bias"]
    except KeyError as error:
        raise DataError(f"{path}: no array {error}; a codebook of gabbro has it") from None
    except ValueError as error:
        raise DataError(f"{path}: arrays that do not fit each other ({error})") from None
    if effective.ndim != 2 or made.shape != effective.shape:
        raise DataError(f"{path}: codebook_effective is {effective.shape}; expected (codes, D)")
    if not np.allclose(made, effective, rtol=1e-5, atol=1e-5):
        raise DataError(
            f"{path}: codebook_effective is not affine_scale · codebook_raw + affine_bias; they are"
            " of different tokenizers"
        )
    return effective


def _shape(weights: dict[str, NDArray[Any]], name: str, source: Path) -> tuple[int, ...]:
    if name not in weights or weights[name].ndim != 2:
        raise DataError(f"{source / _WEIGHTS}: no matrix {name}; gabbro's decoder has it")
    return weights[name].shape


def _state(weights: dict[str, NDArray[Any]], codebook: NDArray[np.float32]) -> dict[str, Tensor]:
    """Parameters by our names."""
    state: dict[str, Tensor] = {}
    for name, values in weights.items():
        ours = name.replace("latent_projection_out.", "first.").replace(
            "output_projection.", "last."
        )
        if name.startswith("decoder_normformer.blocks."):
            number, inner = name.removeprefix("decoder_normformer.blocks.").split(".", 1)
            part = next((p for p in _BLOCK if inner.startswith(p)), inner)
            ours = f"blocks.{number}.{_BLOCK.get(part, part)}{inner.removeprefix(part)}"
        state[f"model.decoder.{ours}"] = torch.from_numpy(np.asarray(values, np.float32).copy())
    zero = torch.zeros(codebook.shape[1])
    return state | {
        "quantizer.codes_": torch.from_numpy(codebook.copy()),
        "quantizer.scale": zero,
        "quantizer.shift": zero.clone(),
        "quantizer.unused": torch.zeros(len(codebook), dtype=torch.int64),
    }
