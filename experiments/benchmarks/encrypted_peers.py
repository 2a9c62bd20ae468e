"""The same tasks under TenSEAL and OpenFHE; needs numpy and one of them, so that any interpreter can run it.

`python experiments/benchmarks/encrypted_peers.py openfhe 1000` prints one JSON line. OpenFHE's wheels are built for one
version of Python each, so it is measured in an environment of its own where the project's Python has none.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A prime that is 1 modulo 2 * 8192, above the sum of 1,000 readings of up to 5,000 Wh.
MODULUS = 5_308_417
SLOTS, LARGEST = 24, 5000
FEATURES, OUTPUTS, HOURS = 140, 14, 168
#: Patterns on which rounding and cancellation are worst.
PATTERNS: dict[str, Callable[[float], NDArray[np.float64]]] = {
    "uniform": lambda top: np.random.default_rng(0).uniform(-top, top, 4096),
    "all at the largest": lambda top: np.full(4096, top),
    "alternating signs": lambda top: top * (-1.0) ** np.arange(4096),
    "one large, others small": lambda top: np.r_[top, np.full(4095, 1e-3)],
}
MAGNITUDES = (1.0, 1e3)


class TenSeal:
    """Microsoft SEAL behind TenSEAL."""

    package = "tenseal"

    def __init__(self) -> None:
        self._ts = importlib.import_module("tenseal")

    def bfv(self) -> None:
        self._context = self._ts.context(self._ts.SCHEME_TYPE.BFV, 4096, MODULUS)

    def ckks(self) -> None:
        self._context = self._ts.context(self._ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 60])
        self._context.global_scale = 2**40

    def whole(self, values: NDArray[np.int64]) -> Any:
        return self._ts.bfv_vector(self._context, values.tolist())

    def real(self, values: NDArray[np.float64]) -> Any:
        return self._ts.ckks_vector(self._context, values.tolist())

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def times(self, a: Any, b: Any) -> Any:
        return a * b

    def read(self, a: Any, n: int) -> NDArray[np.float64]:
        return np.array(a.decrypt()[:n], dtype=float)

    def written(self, a: Any) -> bytes:
        return bytes(a.serialize())

    def shared_keys(self) -> dict[str, float]:
        return {}


class OpenFhe:
    """OpenFHE's own Python package."""

    package = "openfhe"

    def __init__(self) -> None:
        self._fhe = importlib.import_module("openfhe")

    def bfv(self) -> None:
        own = self._fhe.CCParamsBFVRNS()
        own.SetPlaintextModulus(MODULUS)
        own.SetMultiplicativeDepth(0)
        self._start(own)

    def ckks(self) -> None:
        own = self._fhe.CCParamsCKKSRNS()
        own.SetMultiplicativeDepth(1)
        own.SetScalingModSize(40)
        own.SetFirstModSize(60)
        # Products are rescaled late, which is four times faster here than the default. Switching keys without a
        # special prime (BV) would allow TenSEAL's ring, half as large, and leave errors of 1 % in squares.
        own.SetScalingTechnique(self._fhe.ScalingTechnique.FLEXIBLEAUTO)
        self._start(own)

    def _start(self, own: Any, shared: bool = False) -> None:
        features = self._fhe.PKESchemeFeature
        self._context = self._fhe.GenCryptoContext(own)
        for feature in (features.PKE, features.LEVELEDSHE, *((features.MULTIPARTY,) if shared else ())):
            self._context.Enable(feature)
        self._keys = self._context.KeyGen()
        if not shared:
            self._context.EvalMultKeyGen(self._keys.secretKey)
        self.degree = self._context.GetRingDimension()

    def whole(self, values: NDArray[np.int64]) -> Any:
        return self._context.Encrypt(self._keys.publicKey, self._context.MakePackedPlaintext(values.tolist()))

    def real(self, values: NDArray[np.float64]) -> Any:
        return self._context.Encrypt(self._keys.publicKey, self._context.MakeCKKSPackedPlaintext(values.tolist()))

    def add(self, a: Any, b: Any) -> Any:
        return self._context.EvalAdd(a, b)

    def times(self, a: Any, b: Any) -> Any:
        return self._context.EvalMult(a, b)

    def read(self, a: Any, n: int) -> NDArray[np.float64]:
        return self._values(self._context.Decrypt(self._keys.secretKey, a), n)

    def _values(self, plain: Any, n: int) -> NDArray[np.float64]:
        plain.SetLength(n)
        try:
            return np.array(plain.GetPackedValue()[:n], dtype=float)
        except RuntimeError:
            return np.array(plain.GetRealPackedValue()[:n], dtype=float)

    def written(self, a: Any) -> bytes:
        return bytes(self._fhe.Serialize(a, self._fhe.BINARY))

    def shared_keys(self) -> dict[str, float]:
        """A sum that two holders decrypt together, and how far from it one alone comes."""
        own = self._fhe.CCParamsBFVRNS()
        own.SetPlaintextModulus(MODULUS)
        own.SetMultiplicativeDepth(0)
        start = time.perf_counter()
        self._start(own, shared=True)
        second = self._context.MultipartyKeyGen(self._keys.publicKey)
        made = time.perf_counter() - start
        values = np.arange(SLOTS)
        plain = self._context.MakePackedPlaintext(values.tolist())
        sent = self._context.Encrypt(second.publicKey, plain)
        start = time.perf_counter()
        lead = self._context.MultipartyDecryptLead([sent], self._keys.secretKey)
        main = self._context.MultipartyDecryptMain([sent], second.secretKey)
        both = self._values(self._context.MultipartyDecryptFusion([lead[0], main[0]]), SLOTS)
        done = time.perf_counter() - start
        alone = self._values(self._context.Decrypt(self._keys.secretKey, sent), SLOTS)
        return {
            "shared keys": made,
            "shared decryption": done,
            "shared exact": float((both == values).all()),
            "one holder, right": float((alone == values).mean()),
        }


LIBRARIES = {"tenseal": TenSeal, "openfhe": OpenFhe}


def sums(library: Any, n_meters: int) -> dict[str, float]:
    """Seconds and bytes of an exact sum over meters of 24 readings each."""
    readings = np.random.default_rng(0).integers(0, LARGEST + 1, (n_meters, SLOTS))
    library.bfv()
    total, encrypting, adding = None, 0.0, 0.0
    for row in readings:
        start = time.perf_counter()
        one = library.whole(row)
        middle = time.perf_counter()
        total = one if total is None else library.add(total, one)
        encrypting, adding = encrypting + middle - start, adding + time.perf_counter() - middle
    start = time.perf_counter()
    found = library.read(total, SLOTS) % MODULUS
    decrypting = time.perf_counter() - start
    return {
        "encrypt": encrypting,
        "add": adding,
        "decrypt": decrypting,
        "bytes": len(library.written(total)),
        "exact": float((found == readings.sum(axis=0)).all()),
    }


def forecast(library: Any) -> dict[str, float]:
    """Seconds and largest error of a linear forecast of encrypted features: hours in slots, a ciphertext a feature."""
    rng = np.random.default_rng(0)
    x, w = rng.uniform(-1, 1, (FEATURES, HOURS)), rng.normal(size=(OUTPUTS, FEATURES))
    library.ckks()
    start = time.perf_counter()
    sent = [library.real(row) for row in x]
    middle = time.perf_counter()
    outputs = []
    for weights in w.tolist():
        total = library.times(sent[0], weights[0])
        for one, weight in zip(sent[1:], weights[1:], strict=True):
            total = library.add(total, library.times(one, weight))
        outputs.append(total)
    end = time.perf_counter()
    found = np.array([library.read(one, HOURS) for one in outputs])
    error = float(np.abs(found - w @ x).max())
    return {"encrypt": middle - start, "forecast": end - middle, "bytes": len(library.written(sent[0])), "error": error}


def precision(library: Any) -> dict[str, float]:
    """Largest absolute error by pattern and magnitude, of x and of x * x, relative to the largest number."""
    library.ckks()
    found = {}
    for name, pattern in PATTERNS.items():
        for top in MAGNITUDES:
            x = pattern(top)
            sent = library.real(x)
            found[f"{name}, {top:g}"] = float(np.abs(library.read(sent, len(x)) - x).max() / top)
            square = library.times(sent, sent)
            found[f"{name}, {top:g}, squared"] = float(np.abs(library.read(square, len(x)) - x * x).max() / top**2)
    return found


def installed_mb(package: str) -> float:
    """Size of the package's own files."""
    module = importlib.import_module(package)
    folder = Path(str(module.__file__)).parent
    places = [
        folder,
        *(own for glob in ("{}.libs", "_{}*", "lib{}*") for own in folder.parent.glob(glob.format(package))),
    ]
    files = (one for place in places for one in ([place] if place.is_file() else place.rglob("*")))
    return sum(one.stat().st_size for one in files if one.is_file() and "__pycache__" not in one.parts) / 2**20


def measure(name: str, n_meters: int) -> dict[str, dict[str, float]]:
    """Everything, of one library."""
    library = LIBRARIES[name]()
    return {
        "sum": sums(library, n_meters),
        "forecast": forecast(library),
        "precision": precision(library),
        "shared": library.shared_keys(),
        "package": {"size": installed_mb(library.package), "peak_memory": _peak_memory_mb()},
    }


def _peak_memory_mb() -> float:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), float("nan"))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1], int(sys.argv[2]))) + "\n")
