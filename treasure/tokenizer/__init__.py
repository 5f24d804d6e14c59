"""Jets to tokens and back: features, models, quantizers, training, the saved artefact."""
