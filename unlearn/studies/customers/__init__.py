"""Customers: what it costs to forget them, who pays, and what one customer's data is worth."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.customers.measure import study_customers
    from unlearn.studies.customers.options import CustomersOptions
    from unlearn.studies.customers.populations import Population, population_of
    from unlearn.studies.customers.setting import Setting, make_setting
    from unlearn.studies.customers.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = ["CustomersOptions", "Population", "Setting", "make_setting", "population_of", "study_customers", "summarise"]
