"""A release of daily profiles as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.reporting.pages import drawn, embedded, write_page
from unlearn.studies.release.card import settings_rows, training_figure
from unlearn.studies.release.figure import MOST_SEGMENTS, segments_of
from unlearn.studies.release.measure import MIN_HOUSEHOLDS, PUBLIC
from unlearn.studies.release.verdict import LABEL_NAMES, label_table, reference_of, summarise_release, whole_table
from unlearn.studies.utility.measure import REAL

#: What the page says of what stands beside the release, and of what does not.
_BESIDE = {
    None: "Every number of profiles on this page is of the released ones; none was measured on the real ones.",
    PUBLIC: "Beside the release stands its public start, which was known before any household was looked at. No number "
    "of profiles on this page was measured on real ones.",
    REAL: f"Of real households is left out: groups of fewer than {MIN_HOUSEHOLDS} households, and further ones where a "
    f"difference would give them away; quantiles that fewer than {MIN_HOUSEHOLDS} households lie below or above; the "
    "smallest and the largest values; days of single households.",
}


def write_release_page(
    records: pd.DataFrame,
    figure: Path,
    path: Path,
    card: Mapping[str, Any] | None = None,
    comparison: str | None = None,
) -> Path:
    """Write the page: sentences, figure, numbers by label, and the generator's card.

    Args:
        records: of `describe_release`, one release.
        figure: PNG file of `save_release`.
        path: where the page goes.
        card: of the generator: any settings; losses per epoch under `training`, log posterior per pass under
            `mixture`.
        comparison: name of the folder, for the owner only, that compares the release with real households.

    Raises:
        InputError: records of something else, or of several releases.
    """
    about, *sentences = summarise_release(records)
    training, beside = training_figure(card or {}), reference_of(records)
    return write_page(
        Path(__file__).with_name("page.html"),
        path,
        records,
        internal=beside == REAL,
        source=records["data"].iloc[0],
        beside=_BESIDE[beside],
        comparison=comparison,
        least=MIN_HOUSEHOLDS,
        about=about,
        sentences=sentences,
        whole=whole_table(records),
        tables={text: label_table(records, label) for label, text in LABEL_NAMES.items()},
        n_segments=len(segments_of(records)),
        most_segments=MOST_SEGMENTS,
        settings=settings_rows(card or {}),
        training=drawn(training) if training else None,
        png=embedded(figure),
    )
