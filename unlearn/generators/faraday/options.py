"""Settings of Faraday, of its training, and of what private training promises."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.checks import require_choice, require_count, require_fraction, require_not_negative, require_positive
from unlearn.dp.options import SgdOptions
from unlearn.errors import InputError


@dataclass(frozen=True)
class LossWeights:
    """What training minimises: `reconstruction · MSE + quantile · pinball + divergence · (KL or MMD)`.

    Attributes:
        reconstruction: of the squared error of the expected profile, mean over steps.
        quantile: of the pinball loss, mean over steps and summed over levels.
        divergence: of what draws the latent distribution towards N(0, I).
        kind: "kl" (a value per profile) or "mmd" (of a batch: the aggregated posterior, Gretton et al. 2012).
    """

    reconstruction: float = 0.1
    quantile: float = 2.0
    divergence: float = 0.005
    kind: str = "kl"

    def __post_init__(self) -> None:
        for name in ("reconstruction", "quantile", "divergence"):
            require_not_negative(f"loss.{name}", getattr(self, name))
        require_choice("loss.kind", self.kind, ("kl", "mmd"))
        if self.reconstruction + self.quantile == 0:
            raise InputError("loss: expected reconstruction or quantile above 0, else nothing is reconstructed.")


@dataclass(frozen=True)
class VaeOptions:
    """Network and training.

    Attributes:
        latent: dimension of the latent space, L.
        hidden: width of the hidden layers.
        epochs: passes over the training profiles at most.
        batch_size: profiles per step.
        learning_rate: the highest of the cycle (Smith 2018): up over the first 30 % of the steps, then down to 0.
        patience: epochs without a better validation loss after which training stops.
        validation: share of households, of training profiles where households are not known, kept for early stopping;
            at least one of them is kept, and one trained on.
        loss: weights of the terms of the loss.
    """

    latent: int = 24
    hidden: int = 256
    epochs: int = 40
    batch_size: int = 512
    learning_rate: float = 2e-3
    patience: int = 10
    validation: float = 0.1
    loss: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        for name in ("latent", "hidden", "epochs", "batch_size", "patience"):
            require_count(f"vae.{name}", getattr(self, name))
        require_positive("vae.learning_rate", self.learning_rate)
        require_fraction("vae.validation", self.validation)


@dataclass(frozen=True)
class MixtureOptions:
    """Settings of EM.

    Attributes:
        n_components: K.
        tol: EM has converged when a pass improves the mean log posterior of a profile by less than this (nats).
        max_iter: passes at most; a fit that ends so is kept, and says so.
        prior_rows: pseudo-observations of the prior of each component: its covariance is drawn towards the average
            within clusters, its labels towards their overall frequencies, so that no component settles on a few rows.
        cluster_iter: passes of mini-batch k-means for the start.
    """

    n_components: int = 100
    tol: float = 2e-3
    max_iter: int = 100
    prior_rows: float = 20.0
    cluster_iter: int = 3

    def __post_init__(self) -> None:
        for name in ("n_components", "max_iter", "cluster_iter"):
            require_count(f"mixture.{name}", getattr(self, name))
        for name in ("tol", "prior_rows"):
            require_positive(f"mixture.{name}", getattr(self, name))


@dataclass(frozen=True)
class FaradayOptions:
    """Settings of the network and of the mixture."""

    vae: VaeOptions = field(default_factory=VaeOptions)
    mixture: MixtureOptions = field(default_factory=MixtureOptions)


#: What of the network is trained: all of it, or only what is added in each layer (Bu et al. 2022), which takes less
#: noise as a whole and suits few households.
TRAINED = ("all", "biases")


@dataclass(frozen=True)
class FaradayPrivacy:
    """What is promised, and how the promise is spent.

    Attributes:
        epsilon: ε of everything together; None adds no noise and promises nothing, for comparison.
        delta: δ; None takes 1/(10 N).
        clip: Euclidean norm that a household's gradient is clipped to.
        sampling_rate: chance of a household to take part in a step.
        steps: of DP-SGD.
        days: days that a household shows in a step, drawn from all of its days.
        learning_rate: of the first step; falls to 0 along a cosine.
        trained: "all" or "biases".
        histogram_share: share of ε that the histogram of components would spend by itself.
    """

    epsilon: float | None = 1.0
    delta: float | None = None
    clip: float = 1.0
    sampling_rate: float = 0.2
    steps: int = 300
    days: int = 32
    learning_rate: float = 1e-3
    trained: str = "biases"
    histogram_share: float = 0.3

    def __post_init__(self) -> None:
        if self.epsilon is not None:
            require_positive("privacy.epsilon", self.epsilon)
        if self.delta is not None:
            require_fraction("privacy.delta", self.delta)
        require_count("privacy.days", self.days)
        require_positive("privacy.learning_rate", self.learning_rate)
        require_choice("privacy.trained", self.trained, TRAINED)
        require_fraction("privacy.histogram_share", self.histogram_share)
        SgdOptions(self.clip, 0.0, self.sampling_rate, self.steps)
