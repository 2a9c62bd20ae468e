"""What the page on de-identification says of how things were measured: notes below tables, method, limits."""

STEP_NOTE = (
    "Found: the attacker knows that many half-hourly readings of a household, or all of one day, and names its record; "
    "the better of a guess among all records that agree and of the nearest record. Of the table of labels it knows the "
    "labels. Feeder: it knows the household's feeder, too, and each record says its own. Whoever finds the record of a "
    "crowd learns the crowd's mean. Risk of features: the largest "
    "of the attacks below. Differences: combinations of published sums whose group breaks the 15/15 rule. MAPE and "
    "cost: of forecasts of the true feeder loads in weeks that nothing was learnt from, trained on what is published; "
    "total: of the area's load. "
    "Information left: share of the variance of half-hourly readings that the release explains; of sums, each "
    "household stands for an equal part of its own. MB: the release as a parquet file."
)

LINKAGE_NOTE = (
    "Unique and right: exactly one record agrees with what is known, and it is the household's. Records that agree, "
    "nearest: with the main number of known readings. Of pseudonyms that change each month, the attacker knows "
    "readings of one month and finds that month's record. A total of a day or a week is only bounded by the readings "
    "known in it; who knows all of it knows its total."
)

SUM_NOTE = (
    "AUC of the likelihood ratio of a published hourly sum with and without the household, whose readings the attacker "
    "knows in all hours of a day, a week or a year; what other households use is known in the mean. One household in "
    "the sum is the positive control. Largest: the tenth of the households that use most."
)

DIFFERENCING_NOTE = (
    "Combinations of published sums, such as a substation less three of its feeders, that leave fewer than 15 "
    "customers, or a group of which one customer has more than 15 % of the energy; a sum alone counts, too. Households "
    "recovered: by combinations that leave one household, whose readings they give. Complementary suppression "
    "withholds further sums until none is left; that none is left is proven for each group, not sampled."
)

RISK_NOTE = (
    "Risk: what attacks learn of households in the release beyond what they learn of households that are not, as a "
    "share of what there is to learn; 0 is nothing, 1 all. Features of each household are computed from the release: "
    "mean daily energy, largest reading, share at night and in the evening, weekend and winter ratios, as far as its "
    "steps allow. The release is of a random half of the households; the other half is the control. A copy and other "
    "households (simulated ones) are the controls of the attacks themselves. The method is that of Giomi et al. 2023."
)

LOSS_NOTE = (
    "Curves are replaced by the mean of a class of similar ones (maximum distance to average vector). Lost: the "
    "variance within classes, as a share of that between all households."
)

LABEL_NOTE = (
    "A row per household: substation, class, and annual energy (and solar cells, where they are known), generalised as "
    "little as needed; the class is the sensitive value."
)

MEASURED = (
    "Households are spread over the feeders of the grid at random, four feeders to a substation; all are one area. "
    "Each feeder is scaled so that its largest training hour is its nominal load.",
    "The attacker of the main answer knows a few half-hourly readings of a household, exactly, and when they were. It "
    "knows that the household is in the release.",
    "Pseudonyms are made from a random key for all time, or one for each month. Months are relinked by the mean weekly "
    "profile, the level and the spread of each record.",
    "What a third party makes of a release: readings of households are summed up by feeder, which each record says. "
    "Totals of several hours are spread over them by the mean profile of simulated households, which is nobody's; "
    "between the minimum and the maximum of a day, each household is as high as simulated ones are in the mean. A "
    "feeder that is withheld has its part, by customers, of what its substation, or else the area, has beyond its "
    "published feeders.",
    "Costs are operating costs of dispatch on the forecast and redispatch on the true load. Whole calendar weeks are "
    "tested on; nothing is learnt from them.",
    "Solar homes and districts of the example of composition are simulated: real sources do not know solar cells.",
)

LIMITS = (
    "Attackers who know less than exact readings, such as hours of absence, or more, such as other customers' "
    "readings, were not tried: a customer who takes its own readings from a sum of 15 sees one of 14.",
    "Releases of the same sums at several resolutions of time, and years that follow each other, were not composed.",
    "None of the steps is a guarantee: what was not found may be found by another attack. Differential privacy bounds "
    "what any attack can learn.",
    "Energies of a few hundred households say little of thousands: fewer agree by chance than would in a city.",
)
