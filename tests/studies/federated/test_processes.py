"""The averaging of the study across real processes is that within one."""

import pytest

from unlearn.grid import OperatingCost
from unlearn.households import simulate_households
from unlearn.records import RecordTable
from unlearn.reporting.verdict import select
from unlearn.studies.federated.averaging import measure_processes
from unlearn.studies.federated.options import AveragingSettings, FederatedOptions
from unlearn.studies.federated.setting import make_setting, meters_of

OPTIONS = FederatedOptions(utilities=4, hours=4, averaging=AveragingSettings(rounds=2), processes=True)


@pytest.mark.extras
@pytest.mark.slow
def test_members_in_processes_of_their_own_come_to_the_same_weights() -> None:
    pytest.importorskip("flwr")
    setting = make_setting(meters_of(simulate_households(30, n_days=30)), OperatingCost("ieee9"), OPTIONS, 0)
    table = RecordTable(seed=0)
    measure_processes(setting, table)
    found = table.to_frame()
    apart = select(found, metric="distance_to_one_process")["value"]
    assert len(apart) == 1
    assert apart.item() < 1e-6  # another process may sum in another order
    assert select(found, metric="mse")["utility"].nunique() == 4
    assert select(found, metric="bytes")["value"].item() > 0
