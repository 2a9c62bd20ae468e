"""What the page on customers says of how things were measured: notes below tables, method, limits."""

TOO_MUCH = (
    ". The old model forecasts loads that are gone, which is too much, and too much is the cheaper side: storing a "
    "surplus costs a fifth of shedding. That is no reason to keep it; a tuned model has that margin on purpose."
)

COST_NOTE = (
    "Change of the cost of forecast errors (operating cost above that of a perfect forecast of the same physical load) "
    "against the model before, in percent; customers drawn at random. Tuned: scaled by one number, before and after. "
    "Stale: the old model on the new loads."
)

SEGMENT_NOTE = (
    "Change of the operating cost, money a year of each customer who still takes energy: buses' shares by the gradient "
    "along the path of forecasts and loads, then by energy. On this grid each meter stands for many households."
)

CHOICE_NOTE = (
    "The same change for other choices of the customers, before tuning. Valuable: by the influence of a customer's "
    "data on the cost of validation hours. A dash: refused, see above."
)

WORTH_NOTE = (
    "Change of a criterion of the test hours if the customer's data is taken away: positive is helpful. By influence, "
    "customers of all seeds; truly removed, of the first seed. A meter stands for many households on this grid, "
    "which a year's money per household is divided by."
)

FORECASTER_NOTE = (
    "Customers drawn at random, main share. Complete: no part of the model has learnt from whoever is forgotten. "
    "Networks are trained on hours of their core, which customers are part of, unless the extractor is of others. "
    "Errors and costs are of the seeds that all forecasters have."
)

AUDIT_NOTE = (
    "AUC of telling a model from one that never had the customer, by the likelihood ratio of the bus's parameters; "
    "0.5 is guessing. All intervals together hold with 95 %. Each model is shown beside one of other customers; both "
    "models shown: beside its own counterpart, where whatever forgetting leaves tells them apart. Equal up to "
    "rounding is a tie."
)

MEASURED = (
    "Hourly meters are spread over the buses at random, as evenly as can be, and each bus is scaled so that its "
    "largest training hour is its nominal load. On such a grid a meter stands for many households: worth and "
    "burden of a meter are theirs together.",
    "Whole calendar weeks are tested on, every fifth by default, and half as many are validation. In one year the last "
    "weeks are a season of their own: a chronological split would measure how the season is extrapolated. No feature "
    "holds an earlier load.",
    "Cost of forecast errors: operating cost of dispatch on the forecast and redispatch on the physical load, above "
    "that of a perfect forecast of the same load. So costs compare where the load falls.",
    "Who leaves takes the load away. Who objects still takes energy, but models may not learn from it: the gap is "
    "left, or filled with the mean of the members of the class who remain, or the load of the bus is scaled up by "
    "count. Classes with fewer customers than the option says are joined with the next smallest.",
    "Who pays: the change of the cost is divided over buses by the integral of the gradient along the straight path "
    "from old to new forecasts and loads, and within a bus by energy.",
    "Tuning scales all forecasts by one number, found on training hours of whoever remains alone.",
)

LIMITS = (
    "Forecasts know the calendar and, where the page says so, the weather of the hour: they are not forecasts of a "
    "real operator, and their errors are larger than those with recent loads.",
    "One grid, one year of households; each bus is small, and scaled up. With more customers at a bus each of them is "
    "worth less.",
    "The attack sees parameters, not queries over time, and knows the target's own readings. The model before, if it "
    "is kept anywhere, still knows everybody.",
)
