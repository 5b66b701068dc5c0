"""The decisive experiment: what does multi-objective *training* buy, once lists are searched?

    python -m benchmarks.decisive --out results/evidence/decisive

Seven arms on several data sets, five search seeds, the same processor seconds for each. Every arm
makes networks in its own way; all of them then have the same search of serving settings, over these
networks and the tuned baselines, once with the serving variables that make lists diverse and once
with the fusion alone. Everything is chosen on validation data. Test data of a data set is opened
once, for the selected points of all arms, seeds and modes together.

Results are lines of JSON, one for each data set, seed, arm and mode: what was interrupted goes on
where it stopped.
"""
