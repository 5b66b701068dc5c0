"""Updates of a bundle: drift, training on new rows, and the decision to replace it."""
