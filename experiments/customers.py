"""The cost of forgetting customers, who pays, and what one's data is worth: `python -m experiments.customers`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.app import Job, experiment
from experiments.endings import Ending, Number, number
from experiments.groups import STORE, Group
from unlearn.studies.customers.options import CNN_OF_OTHERS, CustomersOptions

if TYPE_CHECKING:
    import pandas as pd

    from unlearn.households import HouseholdProfiles


@experiment(
    keeps=lambda job: job.store,
    owner_only=True,
    households=Group("households"),
    grid=Group("grid"),
    customers=CustomersOptions,
    store=STORE,
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figures and page, and print what they say."""
    from experiments.loads import store_of
    from experiments.together import publish
    from unlearn.households.io.sources import load_households
    from unlearn.studies.customers.measure import study_customers
    from unlearn.studies.customers.table import CustomersTable

    households = load_households(job.households)
    cost, others = job.grid.build(), _others(job, households)
    records = study_customers(households, cost, job.customers, _weather(job), others, store_of(job))
    page = publish(job, "customers", records, folder)
    added = CustomersTable(records).added("objects")
    share = f"{100 * job.customers.main_share:g} %"
    numbers = [
        Number(f"Cost of forecast errors where {share} object", added.mean if added else float("nan"), "percent"),
        number("Worth of a customer's data, mean", records, metric="worth", criterion="cost", term="model"),
        number("Largest difference to models that never had them", records, metric="largest_difference"),
    ]
    return Ending(numbers, page)


def _weather(job: Job) -> pd.DataFrame | None:
    """The weather that simulated households live in; none is known of others."""
    from unlearn.households.appliances import london_weather
    from unlearn.households.io.sources import Simulator

    own = job.households
    return london_weather(own.start, own.n_days, own.random_state) if isinstance(own, Simulator) else None


def _others(job: Job, households: HouseholdProfiles) -> HouseholdProfiles | None:
    """Simulated households at the same days, none of whom is a customer."""
    from unlearn.households.simulator import simulate_households

    if CNN_OF_OTHERS not in job.customers.forecasters:
        return None
    first, last = households.days[0], households.days[-1]
    n_days = int((last - first).astype(int)) + 1
    return simulate_households(job.customers.simulated, str(first), n_days, random_state=90210)


if __name__ == "__main__":
    main()
