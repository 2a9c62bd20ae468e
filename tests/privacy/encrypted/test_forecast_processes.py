"""A forecast of a server in a process of its own is the one of a server in this process, and nobody else answers."""

import secrets
from pathlib import Path

import numpy as np
import pytest

from tests.privacy.encrypted.forecasting import TASK, forecast_party, private_input
from unlearn.errors import ProtocolError
from unlearn.privacy.encrypted import ForecastClient
from unlearn.privacy.federated import Identity, LocalChannel, Roster
from unlearn.privacy.federated.channel import COORDINATOR, Channel
from unlearn.privacy.mpc import Credentials, PartyProcess, PartyProcesses, SocketChannel, make_credentials

pytestmark = [pytest.mark.extras, pytest.mark.slow]

PRIVATE = {name: secrets.token_bytes(32) for name in ("server", "utility")}
ROSTER = Roster({name: Identity(own).public for name, own in PRIVATE.items()})


def client_of(channel: Channel) -> ForecastClient:
    return ForecastClient("utility", Identity(PRIVATE["utility"]), ROSTER, channel, "server", TASK)


def test_a_server_in_another_process_forecasts_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights, intercept, features = rng.uniform(-1, 1, (2, 20)), rng.uniform(-1, 1, 2), rng.uniform(-10, 10, (5, 20))
    private = private_input(PRIVATE["server"], ROSTER, weights, intercept)
    local = client_of(LocalChannel([forecast_party("server", private)])).forecast(features)
    party = PartyProcess("server", "tests.privacy.encrypted.forecasting:forecast_party", private)
    with PartyProcesses([party], timeout_s=60) as started:
        channel = started.channel
        found = client_of(channel).forecast(features)
        plain = features @ weights.T + intercept
        assert np.abs(found.values - plain).max() <= found.error
        assert np.abs(found.values - local.values).max() <= found.error + local.error
        # Nothing that travels is longer than a few features: 20 of them came in three messages.
        assert max(one.n_bytes for one in channel.traffic.sent) < 8 * 500_000

        address = channel._addresses["server"]
        strange = make_credentials(tmp_path, [COORDINATOR])[COORDINATOR]
        with (
            SocketChannel({"server": address}, strange, 20) as posing,
            pytest.raises(ProtocolError, match="certificates of one authority"),
        ):
            client_of(posing).forecast(features)
        # The process that answers has the certificate of another name.
        folder = started._children.folder
        coordinator = Credentials(folder / "authority.pem", folder / "party-0.pem", folder / "party-0.key")
        with SocketChannel({"utility": address}, coordinator, 20) as elsewhere:
            other = ForecastClient("client", Identity.new(), ROSTER, elsewhere, "utility", TASK)
            with pytest.raises(ProtocolError, match="expected the certificate of utility, got that of server"):
                other.forecast(features)

        asking, kept = channel.ask, []

        def ask(task: str, asked: dict) -> object:
            kept.append(task)
            if len(kept) == 3:
                started.processes["server"].kill()
                started.processes["server"].wait()
            return asking(task, asked)

        channel.ask = ask
        with pytest.raises(ProtocolError, match="did not answer in time"):
            client_of(channel).forecast(features)
        assert kept == ["forecast_keys", "forecast", "forecast"]
