"""The paper's claims: influence, complete unlearning and re-weighting, priced on the grid."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.paper.options import PaperOptions
    from unlearn.studies.paper.run import completeness, measure_paper, published_derivative, sensitivity, tradeoff
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = ["PaperOptions", "completeness", "measure_paper", "published_derivative", "sensitivity", "tradeoff"]
