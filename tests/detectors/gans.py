"""Small windows and small networks for tests."""

from functools import cache

from tests.detectors.builders import daily_series
from unlearn.detectors.gan.networks import TrainedGan, train_gan
from unlearn.detectors.options import AdversarialOptions, NetworkOptions
from unlearn.detectors.windows import Windows, cut_windows, scale, training_time

LENGTH = 12
NETWORKS = NetworkOptions((4, 6), 5)
TRAINING = AdversarialOptions(epochs=2, batch_size=16, learning_rate=5e-3)


@cache
def small_windows(labelled: bool = False) -> Windows:
    """About 120 windows of half a day, of six buildings with a daily wave."""
    series = daily_series(n_days=11, labelled=labelled)
    return cut_windows(scale(series, training_time(series, 0.9)), LENGTH, stride=12)


@cache
def small_gan() -> TrainedGan:
    """Networks after two epochs."""
    return train_gan(small_windows(), NETWORKS, TRAINING, seed=3)
