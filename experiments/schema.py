"""Typed schemas of every configuration group; a misspelt key is refused before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import MISSING

from experiments.schema_anomaly import BUILDINGS, AnomalyConfig, BuildingsConfig, ThresholdsConfig
from experiments.schema_attack import AttackConfig
from experiments.schema_audit import UnlearningAuditConfig
from experiments.schema_inversion import AnomalyBenchmarkConfig
from experiments.schema_poisoning import PoisoningConfig
from experiments.schema_private import PrivateFaradayConfig, PrivateTrainingConfig
from experiments.schema_synthetic import (
    GROUPS,
    FidelityConfig,
    GeneratorConfig,
    HouseholdsConfig,
    SynthesisConfig,
    UtilityConfig,
)
from experiments.schema_training import TrainingConfig
from unlearn.checks import require_choice


@dataclass
class DataConfig:
    """A data source and nothing else; each source adds its options."""

    source: str = MISSING


@dataclass
class Gefcom2012Config(DataConfig):
    """GEFCom2012: a year, the zones, and the file if it is not to be downloaded."""

    source: str = "gefcom2012"
    path: str | None = None
    year: int = 2007
    zones: list[int] = MISSING


@dataclass
class Tx123btConfig(DataConfig):
    """TX-123BT: a year, how many buses, and the archive if it is not to be downloaded."""

    source: str = "tx123bt"
    path: str | None = None
    year: int = 2019
    n_loads: int | None = None


@dataclass
class SyntheticConfig(DataConfig):
    """The embedded climate-load source."""

    source: str = "synthetic"
    n_loads: int | None = None
    n_hours: int = 8760
    seed: int = 0
    start: str = "2019-01-01"


@dataclass
class TablesConfig(DataConfig):
    """One's own tables: a load table, and a weather table per variable."""

    source: str = "tables"
    load_csv: str = field(default=MISSING, metadata={"expected": "a table of loads in MW, such as load.csv"})
    weather: dict[str, str] = MISSING
    timestamp: str = "timestamp"
    date_format: str | None = None


@dataclass
class GridConfig:
    """A grid case (name or path), what prices hours on it, and how cvxpylayers is set if it does."""

    case: str = MISSING
    backend: str = MISSING
    form: str = MISSING
    derivative: str = MISSING
    bounds: str = MISSING


@dataclass
class ForecasterConfig:
    """A forecaster; `select_by` is the criterion whose influence picks rows in the paper."""

    kind: str = MISSING
    l2: float = MISSING
    select_by: str = MISSING


@dataclass
class CriterionConfig:
    """What to re-weight for, null being complete unlearning, and the λ₁ that goes with it."""

    name: str | None = MISSING
    l1_budget: float = MISSING


@dataclass
class UnlearningConfig:
    """Which rows to forget, how far the others' weights may move, and whether the model that knows them is deleted."""

    selection: str = MISSING
    select_by: str = MISSING
    share: float = MISSING
    shares: list[float] = MISSING
    start: str | None = None
    end: str | None = None
    loads: list[str] | None = None
    mask: str | None = None
    l1_budget: float = MISSING
    l1_budgets: list[float] = MISSING
    linf_budget: float = MISSING
    form: str = MISSING
    destroy_old: bool = MISSING


@dataclass
class IhvpConfig:
    """How to solve with Hessians; see `unlearn.IhvpOptions`."""

    solver: str = MISSING
    damping: float = MISSING
    rtol: float = MISSING
    max_iter: int | None = None
    on_failure: str = MISSING
    preconditioner: str = MISSING


@dataclass
class SplitConfig:
    """Shares of a chronological split and the core; null lets the protocol decide."""

    train: float | None = None
    validation: float | None = None
    core: float = 0.3
    core_choice: str = "random"
    seed: int = 0


@dataclass
class EvaluationConfig:
    """How many hours per split are priced (null: all), the samples drawn for Fig 5, and loads of 0 in MAPE."""

    hours: int | None = None
    draw: int = 1000
    leave_out_zero_loads: bool = False


@dataclass
class PaperConfig:
    """What `paper` runs: forecasters, what selects their rows, protocols, λ₁ of networks, processes.

    Several seeds or years make it a spread: figures with bands. `derivative_protocols` are those under which
    TAMU is also run with the published code's cost gradient.
    """

    forecasters: list[str] = MISSING
    select_by: dict[str, str] = MISSING
    protocols: list[str] = MISSING
    l1_budgets_network: list[float] = MISSING
    seeds: list[int] | None = None
    years: list[int] | None = None
    derivative_protocols: list[str] = MISSING
    jobs: int = MISSING
    folder: str = MISSING


@dataclass
class BenchmarkConfig:
    """What `benchmark` times: which parts, how often, on how many hours and which grids."""

    parts: list[str] = MISSING
    repeats: int = MISSING
    grids: list[str] = MISSING
    hours: list[int] = MISSING
    sample_hours: int = MISSING
    stream_hours: list[int] = MISSING
    scaling_grids: list[str] = MISSING
    sequential_steps: int = MISSING
    influence_rows: int = MISSING
    scored_rows: int = MISSING
    network_rows: int = MISSING
    network_width: int = MISSING
    network_threads: int = MISSING
    feeder_meters: list[int] = MISSING
    feeder_hourly_meters: list[int] = MISSING
    anomaly: AnomalyBenchmarkConfig = field(default_factory=AnomalyBenchmarkConfig)
    paper: str = MISSING


@dataclass
class FullNetworkConfig:
    """What `full_network` refits and predicts; see `unlearn.studies.full_network.measure`.

    Groups: `singles` rows of each kind, `repeats` random groups and time blocks of each share, `subsets` random
    halves. `conditions` and `hessian_conditions` are the condition numbers that dampings are tried for.
    """

    architecture: str = MISSING
    rows: int = MISSING
    seeds: list[int] = MISSING
    shares: list[float] = MISSING
    repeats: int = MISSING
    singles: int = MISSING
    subsets: int = MISSING
    noise: int = MISSING
    blocks: int = MISSING
    conditions: list[float] = MISSING
    hessian_conditions: list[float] = MISSING
    selection_condition: float = MISSING
    warm_epochs: int = MISSING
    together: int = MISSING
    folder: str = MISSING


@dataclass
class Config:
    """Everything an experiment may ask for."""

    data: DataConfig = MISSING
    grid: GridConfig = MISSING
    forecaster: ForecasterConfig = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    criterion: CriterionConfig = MISSING
    unlearning: UnlearningConfig = MISSING
    ihvp: IhvpConfig = MISSING
    split: SplitConfig = field(default_factory=SplitConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    paper: PaperConfig = field(default_factory=PaperConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    full_network: FullNetworkConfig = field(default_factory=FullNetworkConfig)
    households: HouseholdsConfig = MISSING
    generator: GeneratorConfig = MISSING
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    fidelity: FidelityConfig = field(default_factory=FidelityConfig)
    utility: UtilityConfig = field(default_factory=UtilityConfig)
    private_training: PrivateTrainingConfig = field(default_factory=PrivateTrainingConfig)
    unlearning_audit: UnlearningAuditConfig = field(default_factory=UnlearningAuditConfig)
    poisoning: PoisoningConfig = field(default_factory=PoisoningConfig)
    attack: AttackConfig = field(default_factory=AttackConfig)
    buildings: BuildingsConfig = MISSING
    anomaly: AnomalyConfig = field(default_factory=AnomalyConfig)
    thresholds: ThresholdsConfig = field(default_factory=ThresholdsConfig)
    protocol: str = "fair"
    seed: int = 0
    threads: int = 1
    tiny: bool = False
    models: str = "results/models"
    records: list[str] = field(default_factory=list)


def with_forecaster(config: Config, kind: str) -> Config:
    """The configuration for one of the paper's forecasters, with the criterion that selects its rows."""
    require_choice("paper.forecasters", kind, config.paper.select_by)
    select_by = config.paper.select_by[kind]
    return replace(
        config,
        forecaster=ForecasterConfig(kind, config.forecaster.l2, select_by),
        unlearning=replace(config.unlearning, select_by=select_by),
    )


#: Launchers of Hydra's plugins that `conf/hydra/launcher` tunes under the plugin's own name, and the extra to install.
LAUNCHERS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}


def register() -> None:
    """Put the schemas where the YAML files find them."""
    store = ConfigStore.instance()
    _rename_launchers(store)
    store.store(name="schema", node=Config)
    groups: dict[str, dict[str, type]] = {
        "data": {
            "gefcom2012": Gefcom2012Config,
            "tx123bt": Tx123btConfig,
            "synthetic": SyntheticConfig,
            "tables": TablesConfig,
        },
        "grid": {"grid": GridConfig},
        "forecaster": {"forecaster": ForecasterConfig},
        "criterion": {"criterion": CriterionConfig},
        "unlearning": {"unlearning": UnlearningConfig},
        "ihvp": {"ihvp": IhvpConfig},
        "buildings": BUILDINGS,
        **GROUPS,
    }
    groups["generator"] = {**groups["generator"], "private_faraday": PrivateFaradayConfig}
    for group, nodes in groups.items():
        for name, node in nodes.items():
            store.store(group=group, name=f"{name}_schema", node=node)


def _rename_launchers(store: ConfigStore) -> None:
    """Make the plugins' configurations schemas of our files: of two with one name, Hydra would take ours and warn."""
    Plugins.instance()  # finds the plugins that are installed, which register themselves
    launchers = store.repo["hydra"]["launcher"]
    for name, extra in LAUNCHERS.items():
        found = launchers.pop(f"{name}.yaml", None)
        # Without its plugin a choice still composes; this is what Hydra then says that it cannot load.
        absent = {"_target_": f"hydra_plugins.{name} (absent: pip install 'unlearn[{extra}]')"}
        store.store(group="hydra/launcher", name=f"{name}_schema", node=found.node if found else absent)
