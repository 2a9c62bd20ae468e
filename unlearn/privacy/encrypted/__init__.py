"""Computing on encrypted readings: whoever computes sees none of them, and whoever holds the keys sees results alone.

`pip install "unlearn[encrypted]"` brings TenSEAL, the library of Microsoft SEAL.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.privacy.encrypted.bfv import Encryptor, KeyHolder, RunningSum, new_keys
    from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox, Label, new_run
    from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
    from unlearn.privacy.encrypted.paillier import Paillier, PaillierSum, decrypt_total, make_paillier_keys
    from unlearn.privacy.encrypted.paillier_packing import Packing
    from unlearn.privacy.encrypted.paillier_protocol import encrypted_total, holder_party, meter_party
    from unlearn.privacy.encrypted.paillier_split import Holder, Policy, make_split_keys
    from unlearn.privacy.encrypted.parameters import Summands
    from unlearn.privacy.encrypted.protocol import EncryptedTotal, encrypted_sum, key_holder, meter
    from unlearn.privacy.encrypted.split_keys import Split, SplitEncryptor
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # what is sent instead of numbers, and what is refused
    "Ciphertext", "Inbox", "Label", "new_run",
    # who encrypts and who decrypts
    "PublicKeys", "SecretKeys",
    # exact sums
    "Encryptor", "KeyHolder", "RunningSum", "Summands", "new_keys",
    # several holders, of whom none decrypts alone
    "Split", "SplitEncryptor",
    # the same over a channel
    "EncryptedTotal", "encrypted_sum", "key_holder", "meter",
    # Paillier: sums and bills, and a key of which no holder has all
    "Holder", "Packing", "Paillier", "PaillierSum", "Policy", "decrypt_total", "encrypted_total", "holder_party",
    "make_paillier_keys", "make_split_keys", "meter_party",
]  # fmt: skip
