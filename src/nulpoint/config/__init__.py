"""Read the environment and config.yaml into one frozen, validated Config, or report every problem at once."""

from nulpoint.config.loader import load
from nulpoint.config.model import Config
from nulpoint.config.problems import ConfigError, Problem
from nulpoint.config.source import ConfigSource

__all__ = ["Config", "ConfigError", "ConfigSource", "Problem", "load"]
