"""Computing on encrypted readings: whoever computes sees none of them, and whoever holds the keys sees results alone.

`pip install "unlearn[encrypted]"` brings TenSEAL, the library of Microsoft SEAL.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.privacy.encrypted.bfv import Encryptor, KeyHolder, RunningSum, new_keys
    from unlearn.privacy.encrypted.bills import Biller, BillHolder, bill_of
    from unlearn.privacy.encrypted.ckks import Decrypted, RealDecryptor, RealEncryptor, new_real_keys, weighted_sums
    from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox, Label, new_run
    from unlearn.privacy.encrypted.forecast import ForecastClient, ForecastServer, forecast_task
    from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
    from unlearn.privacy.encrypted.limits import LimitTask, above_limits, encrypt_loads, new_limit_keys, open_above
    from unlearn.privacy.encrypted.moments import Moments, RunningMoments, moments_task, open_moments
    from unlearn.privacy.encrypted.paillier import Paillier, PaillierSum, decrypt_total, make_paillier_keys
    from unlearn.privacy.encrypted.paillier_packing import Packing
    from unlearn.privacy.encrypted.paillier_protocol import encrypted_total, holder_party, meter_party
    from unlearn.privacy.encrypted.paillier_split import Holder, Policy, make_split_keys
    from unlearn.privacy.encrypted.parameters import BillTerms, Summands
    from unlearn.privacy.encrypted.precision import Task
    from unlearn.privacy.encrypted.protocol import EncryptedTotal, encrypted_sum, key_holder, meter
    from unlearn.privacy.encrypted.split_keys import Split, SplitEncryptor
    from unlearn.privacy.encrypted.split_protocol import (
        EncryptedBills,
        bill_holder,
        encrypted_bills,
        split_meter,
        split_sum,
        sum_holder,
    )
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
    # bills by any tariff, of which the utility learns one number each
    "BillHolder", "BillTerms", "Biller", "bill_of",
    # the same over a channel
    "EncryptedBills", "EncryptedTotal", "bill_holder", "encrypted_bills", "encrypted_sum", "key_holder", "meter",
    "split_meter", "split_sum", "sum_holder",
    # real numbers, with a bound of the error
    "Decrypted", "RealDecryptor", "RealEncryptor", "Task", "new_real_keys", "weighted_sums",
    # forecasts, means and variances, and limits from encrypted data
    "ForecastClient", "ForecastServer", "forecast_task",
    "Moments", "RunningMoments", "moments_task", "open_moments",
    "LimitTask", "above_limits", "encrypt_loads", "new_limit_keys", "open_above",
    # Paillier: sums and bills, and a key of which no holder has all
    "Holder", "Packing", "Paillier", "PaillierSum", "Policy", "decrypt_total", "encrypted_total", "holder_party",
    "make_paillier_keys", "make_split_keys", "meter_party",
]  # fmt: skip
