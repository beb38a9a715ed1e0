"""Rate limits of requests, tokens and parallel calls, counted in this process or shared through Redis."""
