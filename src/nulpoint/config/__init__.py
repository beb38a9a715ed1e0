"""Configuration: environment and config.yaml become one frozen, validated Config, or a list of all that is wrong."""

from nulpoint.config.loader import ConfigError, Problem, load
from nulpoint.config.model import Config
from nulpoint.config.source import ConfigSource

__all__ = ["Config", "ConfigError", "ConfigSource", "Problem", "load"]
