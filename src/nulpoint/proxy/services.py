"""The objects that the proxy handlers of all routes share."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from nulpoint.cache.layer import CacheServices
from nulpoint.http.client.pool import UpstreamClient
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.message import Headers
from nulpoint.providers.auth import Identities
from nulpoint.proxy.admission.controller import AdmissionController
from nulpoint.proxy.rate_limits import RequestLimiter
from nulpoint.proxy.singleflight import SingleFlight
from nulpoint.proxy.translation_thread import TranslationThread
from nulpoint.request.recorder import RequestRecorder
from nulpoint.routing.provider_health import ProviderHealth
from nulpoint.routing.router import Router


class Services(NamedTuple):
    """The objects that all routes share. `single_flight`, `cache` and `limiter` are None if they are turned off.

    `cross_origin` returns the CORS headers for a request with these headers, and `random` a number from 0 to 1.
    `identities` has those providers, by name, that are called without a configured key.
    """

    router: Router
    provider_health: Mapping[str, ProviderHealth]
    client: UpstreamClient
    recorder: RequestRecorder
    admission: AdmissionController
    single_flight: SingleFlight | None
    cache: CacheServices | None
    limiter: RequestLimiter | None
    deadlines: DeadlineSweeper
    cross_origin: Callable[[Headers], bytes]
    random: Callable[[], float]
    identities: Identities
    translation: TranslationThread
