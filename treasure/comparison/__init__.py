"""The measurement of one tokenizer, on test jets of two classes: what do its bits keep?

`treasure.comparison.measure` is the whole of it. Below it: `choice` (which jets), `code_use`,
`response`, `observables` and `transport` (jets before and after), `tagging` (classifiers) and
`originals` (what is done once for all tokenizers).
"""
