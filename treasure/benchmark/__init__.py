"""Top tagging on continuous, tokenized and decoded jets: what did the tokens keep of the physics?

`treasure.benchmark.run` is the whole benchmark. Below it: `loading` (release and jet tables to
arrays), `resampling` (equal jet-pT spectra), `features`, `taggers`, `training`, `metrics`,
`comparison` and `page` work on plain arrays.
"""
