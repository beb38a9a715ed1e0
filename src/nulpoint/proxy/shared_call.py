"""A call to a provider that identical requests share while it is in progress, streams included.

The first request, the leader, makes the call. The others follow it: they first get everything that has arrived so far,
and then each piece as it arrives. A client that disconnects does not disturb the others: if it is the leader's, the
call goes on for the followers, and it is cancelled only when the last of them has left. If the call fails, all of them
get the same failure.
"""

from collections import deque
from collections.abc import Callable

from nulpoint.errors import Failure, Kind
from nulpoint.http.coroutine_runner import WakeEvent
from nulpoint.http.server.response import ResponseWriter
from nulpoint.request.context import RequestContext

MAX_KEPT_BYTES = 8 * 1024 * 1024  # of a response; a longer one cannot be joined any more


class Follower:
    """Marks how far one client has followed a call. `position` is the number of the next piece for it."""

    __slots__ = ("position", "wakeup")

    def __init__(self) -> None:
        self.wakeup = WakeEvent()
        self.position = 0


class SharedCall:
    """Distributes the response of one call to its followers. `head` is None until the response has begun."""

    __slots__ = (
        "_bytes",
        "_dropped",
        "_followers",
        "_leader",
        "_pieces",
        "context",
        "ended",
        "error_event",
        "failure",
        "head",
        "joinable",
        "leader_left",
    )  # fmt: skip

    def __init__(self, leader: ResponseWriter, context: RequestContext) -> None:
        self._leader = leader
        self.leader_left = False
        self.context = context  # the leader's, which says who responded and what was used
        self._followers: set[Follower] = set()
        self._pieces: deque[bytes] = deque()
        self._dropped = 0  # pieces at the beginning that are no longer kept
        self._bytes = 0
        self.head: tuple[int, bytes] | None = None  # status, and the headers that are the same for all
        self.joinable = True
        self.ended = False
        self.failure: Failure | None = None
        self.error_event: Callable[[Failure], bytes] | None = None  # reports a failure after the first content
        leader.audience = self

    # -- the leader's side ---------------------------------------------------------------------------------------------

    def start(self, status: int, headers: bytes) -> None:
        self.head = (status, headers)
        self._wake()

    def write(self, data: bytes) -> None:
        """Send a piece to the leader's client and to the followers."""
        self._leader.write(data)
        if self.joinable or self._followers:
            self._pieces.append(data)
            self._bytes += len(data)
            if self._bytes > MAX_KEPT_BYTES:
                self._shorten()
            if self._followers:
                self._wake()

    def add(self, data: bytes) -> None:
        """Send a piece to the followers. The leader's client gets it in another way."""
        self._pieces.append(data)
        self._bytes += len(data)
        self._wake()

    def finish(self, failure: Failure | None) -> None:
        """The call has ended. `failure` is None if it succeeded."""
        self.joinable = False
        self.ended = True
        self.failure = failure
        self._leader.audience = None
        self._wake()

    def has_followers(self) -> bool:
        """The leader's client has disconnected. Return whether others need the call."""
        self.leader_left = True
        return bool(self._followers)

    # -- the followers' side -------------------------------------------------------------------------------------------

    def join(self) -> Follower:
        follower = Follower()
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """End what `join` began. This must be called once, whatever happened."""
        self._followers.discard(follower)
        if not self._followers and self.leader_left and not self.ended:
            self.joinable = False
            self._leader.cancel()

    def has_unread(self, follower: Follower) -> bool:
        return self.ended or follower.position < self._dropped + len(self._pieces)

    def read(self, follower: Follower) -> bytes:
        """Return everything that has arrived since the last call. Raises Failure if the follower is too far behind."""
        start = follower.position - self._dropped
        if start < 0:
            text = (
                "this response arrived faster than you read it, and it is too long to be kept; send the request again"
            )
            raise Failure(Kind.OVERLOADED, 503, text, code="reader_too_slow")
        pieces = [self._pieces[number] for number in range(start, len(self._pieces))]
        follower.position = self._dropped + len(self._pieces)
        return b"".join(pieces)

    def _wake(self) -> None:
        for follower in tuple(self._followers):
            follower.wakeup.wake()

    def _shorten(self) -> None:
        """Forget the beginning, so that nobody can join any more. What is kept is for followers that are behind."""
        self.joinable = False
        if not self._followers:
            self._pieces.clear()
            self._bytes = 0
            return
        while self._bytes > MAX_KEPT_BYTES:
            self._bytes -= len(self._pieces.popleft())
            self._dropped += 1
