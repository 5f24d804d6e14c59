"""All that is measured of one tokenizer, as one flat dictionary of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.comparison.choice import ChosenJets, choose_jets
from treasure.comparison.code_use import code_use
from treasure.comparison.observables import OBSERVABLES, jet_observables
from treasure.comparison.originals import Originals, identity, originals_of
from treasure.comparison.response import resolutions, response
from treasure.comparison.round_trip import RoundTrip, round_trip, select
from treasure.comparison.tagging import aucs, scores_of_test, separation_sample, tagging_sample
from treasure.comparison.transport import energy_flow_distances
from treasure.config.benchmark import TaggerConfig
from treasure.config.measurement import MeasurementConfig
from treasure.errors import DataError
from treasure.progress.parts import part_of
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.particles import owners

__all__ = ["classifier_measures", "jet_measures", "measure_tokenizer"]

Measures = dict[str, float | int]
Progress = Callable[[int, int], None]

# What a progress bar shows of the time, in percent: the round trip, observables, classifiers.
_SHARES = {"round trip": 50, "jets": 10, "classifiers": 40}


def measure_tokenizer(
    tokenizer: Tokenizer,
    jet_tables: Mapping[str, Sequence[Path]],
    labels: Mapping[str, int],
    tagger: TaggerConfig,
    config: MeasurementConfig,
    *,
    seed: int,
    originals: Originals | None = None,
    directory: Path | None = None,
    progress: Progress | None = None,
) -> Measures:
    """Measure one tokenizer on test jets of both classes.

    Everything but the two rates is decided by the arguments.

    Parameters
    ----------
    tokenizer : Tokenizer
    jet_tables : mapping of str to sequence of Path
        Jet tables of each dataset.
    labels : mapping of str to int
        Class of each dataset: 0 background, 1 signal; others are not used.
    tagger : TaggerConfig
        Of the classifiers.
    config : MeasurementConfig
    seed : int
        Of the choice of jets, the bootstrap and the classifiers.
    originals : Originals, optional
        Of the same jets, tagger and seed; from `treasure.comparison.originals.measure_originals`.
        Measured here when None.
    directory : Path, optional
        Trainings are kept in ``trainings/`` of it, so that a run goes on where it was stopped.
    progress : callable, optional
        Called with (done, total), in percent.

    Returns
    -------
    dict of str to float or int
        `jets`, `particles`, `clipped_particles` of the test split; keys of
        `treasure.comparison.code_use.code_use`; ``resolution_<feature>_rms``, ``_bias``, ``_iqr``;
        ``jet_<observable>_median``, ``_iqr``, ``_iqr_error`` for `pt`, `mass`, `softdrop_mass`,
        `tau21`, `tau32`; `energy_flow_distance`, `energy_flow_distance_median` (relative to the jet
        pT), `energy_flow_distance_gev`, `energy_flow_distance_gev_median`, `distance_jets`;
        `encode_jets_per_second`, `decode_jets_per_second` of one CPU thread; `parameters` (weights
        of the networks and vectors of the codebooks) and `size_bytes` (of all that the artefact
        keeps, moving averages of the codebook too); with `config.classifiers` also what
        `classifier_measures` returns.

    Raises
    ------
    DataError
        If a class or split has no jet, or `originals` are of other jets, taggers or seeds.
    """
    jets = choose_jets(
        jet_tables, labels, config, seed=seed, other=tokenizer.feature_set.needs_other
    )
    if config.classifiers and originals is not None:
        _check(originals, identity(jets, tagger, config, seed=seed))
    trip = round_trip(tokenizer, jets, part_of(progress, _SHARES, "round trip"))
    found: Measures = {
        "jets": int(jets.test.sum()),
        "particles": len(trip.ids),
        "clipped_particles": trip.clipped,
        **code_use(trip.ids, tokenizer.vocabulary_size),
        "bits": tokenizer.quantizer.bits,  # a feature of bins may have fewer ids than another
        **resolutions(trip.decoded, trip.original, tokenizer.features),
        **jet_measures(jets, trip.momenta, config, seed=seed),
        **_rates(trip),
        **_size(tokenizer),
    }
    report = part_of(progress, _SHARES, "jets")
    if report is not None:
        report(1, 1)
    if config.classifiers:
        found |= classifier_measures(
            jets,
            trip.momenta,
            tagger,
            config,
            seed=seed,
            originals=originals,
            directory=directory / "trainings" if directory else None,
            progress=part_of(progress, _SHARES, "classifiers"),
        )
    return found


def jet_measures(
    jets: ChosenJets,
    decoded: NDArray[np.floating[Any]],
    config: MeasurementConfig,
    *,
    seed: int,
) -> Measures:
    """Responses and energy-flow distances of the test jets.

    Parameters
    ----------
    jets : ChosenJets
    decoded : (P, 4)
        px, py, pz, E [GeV] of the particles of all jets, after the round trip.
    config : MeasurementConfig
    seed : int
        Of the bootstrap.
    """
    sample = select(jets.particles, jets.test)
    after_momenta = decoded[jets.test[owners(jets.particles.counts)]]
    before = jet_observables(sample.momenta, sample.counts)
    after = jet_observables(after_momenta, sample.counts)
    found: Measures = {}
    for name in OBSERVABLES:
        found |= response(
            f"jet_{name}", after[name], before[name], resamplings=config.bootstrap, seed=seed
        )
    distances = energy_flow_distances(
        sample.momenta, after_momenta, sample.counts, jets=config.distance_jets
    )
    return found | distances.summary() | {"distance_jets": len(distances.distance)}


def classifier_measures(
    jets: ChosenJets,
    decoded: NDArray[np.floating[Any]],
    tagger: TaggerConfig,
    config: MeasurementConfig,
    *,
    seed: int,
    originals: Originals | None = None,
    directory: Path | None = None,
    progress: Progress | None = None,
) -> Measures:
    """What classifiers say of decoded jets.

    Parameters
    ----------
    jets : ChosenJets
    decoded : (P, 4)
        px, py, pz, E [GeV] of the particles of all jets, after the round trip.
    tagger, config, seed, originals, progress
        See `measure_tokenizer`.
    directory : Path, optional
        Trainings are kept here.

    Returns
    -------
    dict of str to float
        Means over `config.tagger_seeds`, on test jets. `auc_separation`: original against decoded
        jets, 0.5 where this classifier cannot tell them apart, which a larger one might (it is
        trained on the training split: both versions of a test jet are new to it). `auc_original`,
        `auc_decoded`: top tagging with a tagger trained and tested on original, and on decoded
        jets; `auc_lost`: their difference. Each with ``_error``, statistical, of the finite number
        of test jets: that of `auc_lost` is of the same jets before and after, that of
        `auc_separation` takes the two versions of a jet as independent. `auc_lost_std`: standard
        deviation over the seeds.
    """
    if originals is None:
        originals = originals_of(jets, tagger, config, seed=seed)
    original = jets.particles.momenta
    samples = {
        "decoded": tagging_sample(decoded, jets, config.max_particles),
        "separation": separation_sample(original, decoded, jets, config.max_particles),
    }
    scores = scores_of_test(
        samples, tagger, config, seed=seed, directory=directory, progress=progress
    )
    tagged = aucs(
        originals.labels,
        {"original": originals.scores["original"], "decoded": scores["decoded"]},
        reference="original",
        resamplings=config.bootstrap,
        seed=seed,
    )
    separated = aucs(
        samples["separation"].labels[samples["separation"].jets(2)],
        {"separation": scores["separation"]},
        reference="separation",
        resamplings=config.bootstrap,
        seed=seed,
    )
    found = {f"auc_{name}": value for name, value in (tagged | separated).items()}
    return {key.replace("decoded_lost", "lost"): value for key, value in found.items()}


def _check(originals: Originals, expected: str) -> None:
    if originals.identity != expected:
        raise DataError(
            f"the measures of original jets have the identity {originals.identity[:10]}, this"
            f" measurement {expected[:10]}: other jets, tagger or seeds; make them again with the"
            " same configuration"
        )


def _size(tokenizer: Tokenizer) -> Measures:
    state = tokenizer.state()
    of_quantizer = sum(t.numel() for name, t in state.items() if name.startswith("quantizer."))
    # A codebook on a grid is computed, not kept; a learned one is kept with its moving averages.
    vectors = min(of_quantizer, tokenizer.codebook.size)
    return {
        "size_bytes": sum(tensor.numel() * tensor.element_size() for tensor in state.values()),
        "parameters": sum(p.numel() for p in tokenizer.model.parameters()) + int(vectors),
    }


def _rates(trip: RoundTrip) -> Measures:
    return {
        "encode_jets_per_second": trip.encode_rate,
        "decode_jets_per_second": trip.decode_rate,
    }
