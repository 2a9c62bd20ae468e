"""Parties for tests, by the names of their factories."""

import os
import signal
import time

import numpy as np

from unlearn.errors import ProtocolError
from unlearn.privacy.federated import Party, Payload


def doubler(name: str, private: Payload) -> Party:
    """Answers with its private number times what was asked, refuses, dies or says nothing."""

    def refuse(kept: Payload, asked: Payload) -> Payload:
        raise ProtocolError(f"{name}: refused.")

    def vanish(kept: Payload, asked: Payload) -> Payload:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    def sleep(kept: Payload, asked: Payload) -> Payload:
        time.sleep(float(asked["s"][0]))
        return {"slept": np.ones(1)}

    times = {"times": lambda kept, asked: {"product": private["own"] * asked["by"]}}
    return Party(name, {**times, "refuse": refuse, "vanish": vanish, "sleep": sleep})
