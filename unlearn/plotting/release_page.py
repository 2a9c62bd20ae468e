"""A release of daily profiles as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.evaluation.utility.measure import REAL
from unlearn.plotting.generator_card import settings_rows, training_figure
from unlearn.plotting.pages import drawn, embedded, write_page
from unlearn.plotting.release import MOST_SEGMENTS, segments_of
from unlearn.plotting.release_text import LABEL_NAMES, label_table, summarise_release, whole_table


def write_release_page(records: pd.DataFrame, figure: Path, path: Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write the page: sentences, figure, numbers by label, and the generator's card.

    Args:
        records: of `describe_release`, one release.
        figure: PNG file of `save_release`.
        path: where the page goes.
        card: of the generator: any settings; losses per epoch under `training`, log posterior per pass under
            `mixture`.

    Raises:
        InputError: records of something else, or of several releases.
    """
    about, *sentences = summarise_release(records)
    training = training_figure(card or {})
    return write_page(
        "release.html",
        path,
        records,
        source=records["data"].iloc[0],
        about=about,
        sentences=sentences,
        whole=whole_table(records),
        tables={text: label_table(records, label) for label, text in LABEL_NAMES.items()},
        n_segments=len(segments_of(records)),
        most_segments=MOST_SEGMENTS,
        real_examples=REAL in set(records.loc[records["metric"] == "example", "generator"]),
        settings=settings_rows(card or {}),
        training=drawn(training) if training else None,
        png=embedded(figure),
    )
