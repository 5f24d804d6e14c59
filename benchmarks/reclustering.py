"""How long does it take to cluster AK8 jets again, as layout C needs it, on one core?

Events of two hard jets over a flat pile-up, one candidate in eight with a PUPPI weight, as in CMS
simulation of Run 2 (1,300 to 2,500 candidates an event). Prints milliseconds an event, and the
ratio to FastJet's classic interface with a loop over events and candidates, in the same run.
"""

import time

import fastjet
import numpy as np

from treasure.skim.kinematics import cartesian
from treasure.skim.reclustering import RADIUS, cluster

EVENTS = 200


def candidates(n_events: int, per_event: int) -> list[np.ndarray]:
    """pt, eta, phi, mass and weight (float32) of events one after the other."""
    rng = np.random.default_rng([0, per_event])
    shape = (n_events, per_event)
    pt = rng.exponential(1.0, shape) + 0.2
    eta, phi = rng.uniform(-4, 4, shape), rng.uniform(-np.pi, np.pi, shape)
    weight = np.where(rng.random(shape) < 0.125, rng.uniform(0.01, 1, shape), 0.0)
    for jet in range(2):
        inside = slice(50 * jet, 50 * (jet + 1))
        pt[:, inside] = rng.exponential(10, (n_events, 50))
        eta[:, inside] = rng.normal(0, 0.2, (n_events, 50))
        phi[:, inside] = np.pi * (jet - 0.5) + rng.normal(0, 0.2, (n_events, 50))
        weight[:, inside] = 1.0
    columns = (pt, eta, phi, np.zeros(shape), weight)
    return [column.ravel().astype(np.float32) for column in columns]


def loop(columns: list[np.ndarray], per_event: int) -> int:
    """Number of clusters, one event after the other."""
    momenta = np.stack(cartesian(*columns[:4]), axis=1) * columns[4][:, None]
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    found = 0
    for start in range(0, len(momenta), per_event):
        inside = momenta[start : start + per_event]
        particles = [fastjet.PseudoJet(*map(float, p)) for p in inside[inside[:, 3] > 0]]
        sequence = fastjet.ClusterSequence(particles, definition)
        found += sum(len(jet.constituents()) > 0 for jet in sequence.inclusive_jets())
    return found


def main() -> None:
    """Run both and print."""
    print("candidates  ms an event  events/s  faster than a loop")
    for per_event in (500, 1000, 2000):
        columns = candidates(EVENTS, per_event)
        start = time.perf_counter()
        found = cluster(*columns, np.full(EVENTS, per_event))
        fast = time.perf_counter() - start
        start = time.perf_counter()
        expected = loop(columns, per_event)
        slow = time.perf_counter() - start
        if len(found.event) != expected:
            raise RuntimeError(f"{len(found.event)} clusters, the loop found {expected}")
        print(
            f"{per_event:10d}  {1e3 * fast / EVENTS:11.2f}  {EVENTS / fast:8.0f}"
            f"  {slow / fast:18.1f}"
        )


if __name__ == "__main__":
    main()
