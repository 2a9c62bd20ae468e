"""Tables of numbers and categories that several tests attack."""

import numpy as np
import pandas as pd


def people(n: int, seed: int) -> pd.DataFrame:
    """Records whose peak follows from the level; with gaps, a flag and text."""
    random = np.random.default_rng(seed)
    level = random.gamma(3.0, 0.1, n)
    frame = pd.DataFrame(
        {
            "level": level,
            "peak": 5 * level * random.uniform(0.9, 1.1, n),
            "night": random.gamma(1.0, 0.1, n),
            "area": random.choice(["north", "south", "west"], n),
            "solar": random.random(n) < 0.2,
            "floor": random.normal(90.0, 20.0, n),
        }
    )
    frame.loc[random.random(n) < 0.1, "floor"] = np.nan
    return frame
