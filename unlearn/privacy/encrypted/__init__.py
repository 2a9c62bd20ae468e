"""Computing on encrypted readings: whoever computes sees none of them, and whoever holds the keys sees results alone.

`pip install "unlearn[encrypted]"` brings TenSEAL, the library of Microsoft SEAL.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox, Label, new_run
    from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # what is sent instead of numbers, and what is refused
    "Ciphertext", "Inbox", "Label", "new_run",
    # who encrypts and who decrypts
    "PublicKeys", "SecretKeys",
]  # fmt: skip
