"""Computing on encrypted readings: whoever computes sees none of them, and whoever holds the keys sees results alone.

`pip install "unlearn[encrypted]"` brings TenSEAL, the library of Microsoft SEAL.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.privacy.encrypted.bfv import Encryptor, KeyHolder, RunningSum, new_keys
    from unlearn.privacy.encrypted.ckks import Decrypted, RealDecryptor, RealEncryptor, new_real_keys, weighted_sums
    from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox, Label, new_run
    from unlearn.privacy.encrypted.forecast import ForecastClient, ForecastServer, forecast_task
    from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
    from unlearn.privacy.encrypted.limits import LimitTask, above_limits, encrypt_loads, new_limit_keys, open_above
    from unlearn.privacy.encrypted.moments import Moments, RunningMoments, moments_task, open_moments
    from unlearn.privacy.encrypted.parameters import Summands
    from unlearn.privacy.encrypted.precision import Task
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
    # real numbers, with a bound of the error
    "Decrypted", "RealDecryptor", "RealEncryptor", "Task", "new_real_keys", "weighted_sums",
    # forecasts, means and variances, and limits from encrypted data
    "ForecastClient", "ForecastServer", "forecast_task",
    "Moments", "RunningMoments", "moments_task", "open_moments",
    "LimitTask", "above_limits", "encrypt_loads", "new_limit_keys", "open_above",
]  # fmt: skip
