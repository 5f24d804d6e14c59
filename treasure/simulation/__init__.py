"""Simulated events: Pythia 8, a parametrised CMS-like detector, and PFNano ROOT files.

`treasure.simulation.generate.simulate_file` makes one file; the other modules are its parts:
`pythia` (generator), `tracks` and `calorimeter` (response), `candidates` (particle flow), `jets`,
`generator_particles`, `trigger`, `nanoaod` (the file) and `reproducible` (its time stamps).
"""
