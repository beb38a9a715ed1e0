"""Rate limits: requests and tokens a minute and parallel calls, in this process or shared through Redis."""
