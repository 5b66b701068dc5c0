"""Domain adaptation: continued pre-training of a backbone on a data set's own texts and use."""
