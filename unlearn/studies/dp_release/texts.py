"""What the page on differentially private statistics says of how things were measured: notes below tables, limits."""

CLAIMS_NOTE = (
    "Each sentence is a claim of the literature on smart-meter data, the answer is for these households and bounds. "
    "Partly: it holds under a condition that the reason names."
)

NOISE_NOTE = (
    "Scale: b of Laplace, σ of Gaussian noise, by the formula and as the measurement that draws it states. p: of a "
    "test of goodness of fit of its draws. Deviation: standard deviation of the draws over that of the distribution."
)

AUDIT_NOTE = (
    "A lower bound on ε from releases of two data sets that differ by one reading, day or home at its bounds, which "
    "one more likely comes from a fixed event; all bounds hold together with 95 %. A bound above the promise proves "
    "that it is broken; one below proves nothing, but here shows how close releases come. Broken on purpose: a scale "
    "divided by two, or by four of Gaussian noise; readings that are not clipped; noise for one reading where a home "
    "is to be protected."
)

ERROR_NOTE = (
    "Mean absolute noise over the mean hourly total, and share of hours within 1 % and 0.1 % of their total. One ε is"
    " for all hours of the span and all feeders together, as each home is in one feeder. Clipping is apart: it lowers"
    " every total by the share that the page's setting names."
)

HOMES_NOTE = (
    "Homes of the mean load here that a mean absolute error of 1 % and of 0.1 % takes; in brackets 95 % of hours "
    "within 1 %. Concentrated differential privacy with δ = 1/(10 N), N the homes asked for. Measured: error of that "
    "many homes, drawn from these with replacement, with noise that was truly drawn."
)

QUERY_NOTE = (
    "Each query once, with its 95 % interval; the truth without noise and bounds stands here only because the page is"
    " internal. Several values: the mean of all. Coverage: share of intervals over many releases that hold the value "
    "of the clipped data, with the 99.9 % interval of that share. Bytes: the answer as a parquet table."
)

PEAK_NOTE = (
    "ε that keeps the noise of one peak within the share of it, with 95 % chance, by the mean peak of so many homes "
    "drawn with replacement. The reverse: the share at the main ε. Measured: share of runs within."
)

HIERARCHY_NOTE = (
    "Feeders, substations and area, each with a third of ε, then projected onto sums that agree, then onto such that "
    "no feeder is below 0. Root mean square error over the mean total of a place."
)

LOCAL_NOTE = (
    "The hourly sum of all homes at one ε for each reading. Central: the utility adds the noise. Distributed: each "
    "meter adds a part of it, and only encrypted sums are opened. Local: each meter adds all of it, and need trust "
    "nobody."
)

UTILITY_NOTE = (
    "Forecasts on the grid of forecasters that learnt from what was published of the training weeks, of true loads in"
    " the weeks between; means over repetitions with new noise. Larger: every home stands for so many, so that noise "
    "weighs less and nothing else changes. Cost is "
    "money per hour. Seconds and size of the release: a year of hours of all feeders as a parquet table."
)

MEASURED = (
    "Households are spread over the loads of the grid, each of which is a feeder; four feeders are a substation, all "
    "are the area. Who is where is public, who uses how much is not.",
    "Levels of protection: neighbouring data sets differ by one reading of a home, by all its readings of one day, or"
    " by all its readings.",
    "Bounds are chosen without looking at the data: a reading counts with at most 5 kWh by default, as in the "
    "document, a day with at most 50.",
    "Noise comes from OpenDP, which draws from the operating system, and is drawn anew in every run. Where ε is pure,"
    " noise is discrete Laplace, otherwise discrete Gaussian at δ = 1/(10 N), whichever takes less.",
    "Forecasters know calendar, season and the loads of a day and of a week before: published ones while they learn, "
    "true ones when they forecast, as an operator meters its feeders.",
)

LIMITS = (
    "Feeders of this study are small: a few hundred homes in all. What more homes would do is computed from the "
    "noise, which does not depend on them, and confirmed with homes drawn with replacement, whose load curves are "
    "fewer than those of as many true homes.",
    "A release in practice answers more than one question; all of them share ε.",
    "An audit finds errors of the kind that was tried. It proves no promise.",
    "Bounds on contributions are simple clipping; bounds that are found privately could be tighter.",
)
