"""What the page on federated learning says of how things were measured: notes below tables, method, limits."""

EXACT_NOTE = (
    "Each member adds up products of its features and loads; the sums are added by secure summation in fixed point, so"
    " that the coordinator sees their total alone, and solves for the head. Pooled: an orthogonal decomposition of the"
    " stacked rows, another solver. Alone: each utility on its own rows. Distance: norm of the difference of forecasts"
    " of all test hours over the norm of the pooled ones, the largest of all seeds. The Mixer under an exact head has "
    "an extractor that was trained on simulated households, who are nobody's customers. Sent: by all parties together."
)
UNLEARNING_NOTE = (
    "Never joined: the same training without the leaver's data, built from the other meters alone; of heads that are "
    "solved exactly, by another solver. Distances are norms of differences over norms, of forecasts of the remaining "
    "test hours and of parameters. Averaging anew and rolling back begin with the same initial weights and orders of "
    "rows as the never-joined run; the distance between two seeds that never had the leaver says how far apart equally"
    " good models are. A rollback goes to before the leaver's first round and repeats all rounds since, or half of "
    "them. No rollback takes a customer out of a member that stays: there, averaging anew is the never-joined run "
    "itself. Nothing done: the model with the leaver in it. Times are of all parties one after the other on one core."
)
AVERAGING_NOTE = (
    "A member's weights count by its rows. Pooled: the same network on the stacked rows of all, with as many passes. "
    "Alone: each utility on its own rows, with as many passes. Linear: the exact federated forecaster, which costs one"
    " sum. Secure: only the sum of the updates is seen."
)
WRONG_NOTE = (
    "Mean squared error where something goes wrong, over that of the weighted mean where nothing does. A scaled update"
    " is the member's own times a negative number; a poisoned one is trained on loads three times as large. Vanishing:"
    " a member does not answer from the second round on. Errors at honest utilities alone, without the one that goes "
    "wrong. The first seed compares all rules, the others the mean and the median."
)
INVERSION_NOTE = (
    "Windows are seven days of one feeder, the next day is forecast by a small network at its first weights. The "
    "attacker knows the network and how many windows there were, and looks for windows whose update is what it saw. "
    "Errors are root mean squares over those of the loads in a window, with the best matching of windows found to true"
    " ones; guessing takes the mean window of public feeders. Over guessing: 1 is no better than that. Of a sum it "
    "looks for the windows of all members. Noise is relative to the norm that updates are clipped to."
)
SPENT_NOTE = (
    "Each member adds its share of the noise; the sum of the shares protects a household. Promised: with shares that "
    "are sized for the fewest members that a round may end with; a round with fewer is given up before anything is "
    "seen. Naive: shares that are sized for all members who began."
)
PILOT_NOTE = (
    "Owners are simulated: charging sessions are added to some households. Features are computed by each utility from "
    "its own readings. Utilities differ in how many of their customers own a car. Tested on households that nothing "
    "was learnt from. 0.5 is guessing."
)
DIFFERENCE_NOTE = (
    "Whoever keeps the totals before and after a withdrawal knows their difference: the statistics of who left. Error "
    "of a customer's mean day that is read from it, over the error of guessing the mean customer's day. Withdrawals "
    "that are taken together hide each among the others."
)
TRAFFIC_NOTE = "Messages of one computation as they were recorded, and the bytes of each party."

MEASURED = (
    "Households are divided at random among utilities, and those of each among its feeders; each utility's feeders are "
    "scaled so that their largest training hour is the nominal load of its own copy of the grid.",
    "Features are the calendar and the loads of a day and a week before. Hours are divided in the order of time: the "
    "last fifth is tested on.",
    "Costs are operating costs of dispatch on the forecast and redispatch on the true load, hour by hour.",
    "After a withdrawal, loads fall, lags are computed anew and feeders are scaled anew without the leaver.",
    "Parties answer messages; the same messages go through one process or through processes of their own.",
)

LIMITS = (
    "Members follow the protocol but for the ones that are malicious on purpose; a coordinator that colludes with all "
    "members but one sees that one's sums.",
    "Households were divided at random: real utilities differ more from each other than these do.",
    "The attack on updates is one of many: what it did not find, another may.",
    "What a total itself tells of a member with unusual customers is not bounded by secure summation, only by noise.",
)
