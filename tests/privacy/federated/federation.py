"""A small federation for tests of secure sums: members with known vectors, and a channel that changes messages."""

from collections.abc import Callable

import numpy as np

from unlearn.errors import UnlearnError
from unlearn.privacy.federated import Identity, LocalChannel, Party, Payload, Replies, Roster, SumOptions, summand

NAMES = ("east", "north", "south", "west", "centre")

#: Task, member and message to another message.
Change = Callable[[str, str, Payload], Payload]


def same(task: str, member: str, payload: Payload) -> Payload:
    return payload


class Changing(LocalChannel):
    """A coordinator or network that changes questions and answers on their way."""

    def __init__(self, parties, asked: Change = same, answered: Change = same, **more) -> None:
        super().__init__(parties, full=True, **more)
        self.asked, self.answered, self.told = asked, answered, dict[tuple[str, str], Payload]()

    def ask(self, task, asked) -> Replies:
        asked = {name: self.asked(task, name, dict(own)) for name, own in asked.items()}
        self.told |= {(task, name): own for name, own in asked.items()}
        replies = super().ask(task, asked)
        answers = {name: self.answered(task, name, dict(own)) for name, own in replies.answers.items()}
        return Replies(answers, replies.refusals, replies.vanished)


class Federation:
    """Members with a vector each, of whole steps of 2^-40."""

    def __init__(self, names=NAMES, n=6, options: SumOptions | None = None, seed=0) -> None:
        self.identities = {name: Identity.new() for name in names}
        self.roster = Roster({name: own.public for name, own in self.identities.items()})
        random = np.random.default_rng(seed)
        self.vectors = {name: np.ldexp(random.integers(-(2**50), 2**50, n).astype(float), -40) for name in names}
        self.options = options
        self.parties = {name: self.party(name) for name in names}

    def party(self, name, contributions=None, roster=None) -> Party:
        own = contributions or {
            "vectors": lambda asked: (self.vectors[name] * (1 + len(asked.get("times", ()))), None),
            "others": lambda asked: (self.vectors[name], None),
        }
        handlers = summand(name, self.identities[name], roster or self.roster, own, self.options)
        return Party(name, handlers)

    def channel(self, asked: Change = same, answered: Change = same, **more) -> Changing:
        return Changing(list(self.parties.values()), asked, answered, **more)

    def sum_of(self, names) -> list[float]:
        return sum(self.vectors[name] for name in names).tolist()

    def open_rounds(self) -> set[str]:
        """Members that still keep something of a round."""
        return {name for name, own in self.parties.items() if any(key.startswith("sum/round/") for key in own.kept)}


def refused(call: Callable[[], object]) -> str:
    try:
        call()
    except UnlearnError as error:
        return str(error)
    raise AssertionError("expected an error")
