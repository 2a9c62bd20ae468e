"""`Party`: one member of a federation, which answers what it is asked from data that never leave it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from unlearn.errors import ProtocolError
from unlearn.privacy.federated.messages import Payload

#: Answers one task: gets what the member keeps between questions, which it may change, and the message.
Handler = Callable[[Payload, Payload], Payload]

#: What a coordinator says when a joint computation ends without a result; the message holds `reason`.
ABORT = "abort"


@dataclass
class Party:
    """One member.

    Attributes:
        name: within the federation.
        handlers: what answers each task, by the task's name.
        kept: what the member keeps between questions, such as keys of the round; never sent.
    """

    name: str
    handlers: Mapping[str, Handler]
    kept: Payload = field(default_factory=dict, repr=False)

    def answer(self, task: str, asked: Payload) -> Payload:
        """Answer one question.

        Raises:
            ProtocolError: a task that this member does not know, or what its handler refuses.
        """
        if task not in self.handlers:
            raise ProtocolError(
                f"{self.name}: expected a task among {', '.join(sorted(self.handlers))}, got {task!r}. Let every party "
                "run the same version."
            )
        return self.handlers[task](self.kept, asked)
