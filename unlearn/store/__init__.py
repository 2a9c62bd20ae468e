"""What is kept: files with checksums, and one cache of artefacts that says what each was made from.

`files` and `folders` write whole or not at all, and verify. `Store` keeps what is expensive to make, under a key of all
that it depends on; `sources` is the part of the key that stands for code. `python -m unlearn.store` looks after a
folder: it lists, verifies and prunes.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.store.artefacts import Artefact, Store, canonical
    from unlearn.store.dependencies import sources
    from unlearn.store.files import BLANK_SEAL, MEND, digests, read_verified, require_files, verify, write
    from unlearn.store.folders import (
        alone,
        create_folder,
        discard,
        kept,
        only_for_owner,
        replace_folder,
        temporary_folder,
    )
    from unlearn.temporary import sweep
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # a cache of artefacts
    "Artefact", "Store", "canonical", "sources",
    # files and folders
    "BLANK_SEAL", "MEND", "alone", "create_folder", "digests", "discard", "kept", "only_for_owner", "read_verified",
    "replace_folder", "require_files", "sweep", "temporary_folder", "verify", "write",
]  # fmt: skip
