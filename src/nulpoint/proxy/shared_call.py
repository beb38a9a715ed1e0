"""Single flight: identical requests at one moment share one call to a provider, streams included.

The first caller's strand makes the call; the others follow what it brings: first all that has come, then each piece as
it comes. A caller who leaves hurts nobody: if it is the first, its strand goes on for the others, and when the last one
has left the call is cancelled. A failure is everybody's failure, once.
"""

from collections import deque

from nulpoint.errors import Failure, Kind
from nulpoint.http.coroutine_runner import WakeEvent
from nulpoint.http.server.response import ResponseWriter
from nulpoint.request.recorder import RequestContext

MOST_BYTES = 8 * 1024 * 1024  # kept of one answer; a longer one cannot be joined any more


class Follower:
    """One caller's place in an answer: the number of the next piece."""

    __slots__ = ("position", "wakeup")

    def __init__(self) -> None:
        self.wakeup = WakeEvent()
        self.position = 0


class SharedCall:
    """One call and those who wait for it. `head` is None until the answer has begun."""

    __slots__ = (
        "_bytes",
        "_dropped",
        "_followers",
        "_leader",
        "_pieces",
        "context",
        "ended",
        "failure",
        "head",
        "joinable",
        "leader_left",
    )  # fmt: skip

    def __init__(self, leader: ResponseWriter, context: RequestContext) -> None:
        self._leader = leader
        self.leader_left = False
        self.context = context  # the leader's notes: who answered, and what was used
        self._followers: set[Follower] = set()
        self._pieces: deque[bytes] = deque()
        self._dropped = 0  # pieces at the beginning that everybody has
        self._bytes = 0
        self.head: tuple[int, bytes] | None = None  # status and header fields that are the same for all
        self.joinable = True
        self.ended = False
        self.failure: Failure | None = None
        leader.audience = self

    # -- the leader's side ---------------------------------------------------------------------------------------------

    def start(self, status: int, fields: bytes) -> None:
        self.head = (status, fields)
        self._wake()

    def write(self, data: bytes) -> None:
        """A piece, for the leader's caller and for all others."""
        self._leader.write(data)
        if self.joinable or self._followers:
            self._pieces.append(data)
            self._bytes += len(data)
            if self._bytes > MOST_BYTES:
                self._shorten()
            if self._followers:
                self._wake()

    def add(self, data: bytes) -> None:
        """A piece that the leader's caller gets in another way."""
        self._pieces.append(data)
        self._bytes += len(data)
        self._wake()

    def finish(self, failure: Failure | None) -> None:
        """The call has ended, well or with a failure."""
        self.joinable = False
        self.ended = True
        self.failure = failure
        self._leader.audience = None
        self._wake()

    def has_followers(self) -> bool:
        """The leader's caller has left."""
        self.leader_left = True
        return bool(self._followers)

    # -- the followers' side -------------------------------------------------------------------------------------------

    def join(self) -> Follower:
        follower = Follower()
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Whoever joined must leave, whatever happened."""
        self._followers.discard(follower)
        if not self._followers and self.leader_left and not self.ended:
            self.joinable = False
            self._leader.cancel()

    def has_unread(self, follower: Follower) -> bool:
        return self.ended or follower.position < self._dropped + len(self._pieces)

    def read(self, follower: Follower) -> bytes:
        """All that has come since this follower looked last. Raises Failure for one who is too far behind."""
        start = follower.position - self._dropped
        if start < 0:
            text = "this answer came faster than it was read, and it was too long to be kept"
            raise Failure(Kind.OVERLOADED, 503, text, code="reader_too_slow")
        pieces = [self._pieces[number] for number in range(start, len(self._pieces))]
        follower.position = self._dropped + len(self._pieces)
        return b"".join(pieces)

    def _wake(self) -> None:
        for follower in tuple(self._followers):
            follower.wakeup.wake()

    def _shorten(self) -> None:
        """Nobody can join from the beginning any more; what is kept is for followers a little behind."""
        self.joinable = False
        if not self._followers:
            self._pieces.clear()
            self._bytes = 0
            return
        while self._bytes > MOST_BYTES:
            self._bytes -= len(self._pieces.popleft())
            self._dropped += 1
