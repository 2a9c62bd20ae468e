"""The cost of forgetting customers, who pays, and what one's data is worth: `python -m experiments.customers`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import Job, experiment
from experiments.endings import Ending, Number, number
from experiments.groups import STORE, Group
from unlearn.studies.customers.options import CustomersOptions


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
    from unlearn.studies.customers.measure import study_customers
    from unlearn.studies.customers.populations import population_of
    from unlearn.studies.customers.table import CustomersTable

    population = population_of(job.households)
    records = study_customers(population, job.grid.build(), job.customers, store_of(job))
    page = publish(job, "customers", records, folder)
    added = CustomersTable(records).added("objects")
    share = f"{100 * job.customers.main_share:g} %"
    numbers = [
        Number(f"Cost of forecast errors where {share} object", added.mean if added else float("nan"), "percent"),
        number("Worth of a customer's data, mean", records, metric="worth", criterion="cost", term="model"),
        number("Largest difference to models that never had them", records, metric="largest_difference"),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
