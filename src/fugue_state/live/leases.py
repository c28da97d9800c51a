"""Subscriptions by OSC: who gets all changes, for how long, and how an address proves that it receives."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from fugue_state.limits import OSC_LEASES, OSC_LEASES_EACH, OSC_PROOF_S, OSC_PROOFS_PER_S
from fugue_state.live.clients import Bucket
from fugue_state.live.guard import is_local
from fugue_state.live.protocol import RefusedError

Address = tuple[str, int]
ROUND_S = 30  # how long a number is valid; that of the round before is accepted, too


@dataclass
class Lease:
    """Until when an address is subscribed, and when it last proved that it receives."""

    until: float
    proved: float


class Leases:
    """The subscribed addresses.

    The sender of a datagram can be forged, so an address must first send back a number that was sent to it. The number
    follows from address and time, so nothing is stored for addresses that have not answered. Addresses of this machine
    need no proof.
    """

    def __init__(self, lease_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._lease_s, self._now = lease_s, now
        self._secret = secrets.token_bytes(16)
        self._leases: dict[Address, Lease] = {}
        self._wrong = Bucket(OSC_PROOFS_PER_S.most, OSC_PROOFS_PER_S.most)

    def __contains__(self, target: Address) -> bool:
        lease = self._leases.get(target)
        return lease is not None and lease.until > self._now()

    def targets(self) -> list[Address]:
        """Return all addresses that are subscribed now."""
        now = self._now()
        return [target for target, lease in self._leases.items() if lease.until > now]

    def challenge(self, target: Address, ago: int = 0) -> int:
        """Return the number that an address must send back in this round, or had to some rounds ago."""
        said = f"{target[0]} {target[1]} {int(self._now() // ROUND_S) - ago}".encode()
        return int.from_bytes(hmac.digest(self._secret, said, hashlib.sha256)[:4]) >> 1

    def take(self, target: Address, answer: int | None) -> bool:
        """Subscribe an address; False if it must first prove that it receives.

        Raises RefusedError if there are too many subscriptions, or too many wrong answers.
        """
        now = self._now()
        known = self._leases.get(target)
        proved = now if self._proves(target, answer) else known.proved if known else -float("inf")
        if now - proved > OSC_PROOF_S.most:
            return False
        self._leases = {address: lease for address, lease in self._leases.items() if lease.until > now}
        if target not in self._leases:
            here = sum(address[0] == target[0] for address in self._leases)
            for limit, got in ((OSC_LEASES_EACH, here), (OSC_LEASES, len(self._leases))):
                if got >= limit.most:
                    raise RefusedError("not_now", limit.passed(got + 1))
        self._leases[target] = Lease(now + self._lease_s, proved)
        return True

    def _proves(self, target: Address, answer: int | None) -> bool:
        if is_local(target[0]):
            return True
        if answer is None:
            return False
        if any(answer == self.challenge(target, ago) for ago in (0, 1)):
            return True
        if not self._wrong.take():
            raise RefusedError("too_fast", "too many answers are wrong")
        return False


def is_own(target: Address, port: int) -> bool:
    """Return whether an address is the server's own port, so that messages to it would come back."""
    if target[1] != port:
        return False
    if is_local(target[0]):
        return True
    kind = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    try:
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect(target)  # sends nothing, but shows the local address that would be used
            return bool(probe.getsockname()[0] == target[0])
    except OSError:
        return True
