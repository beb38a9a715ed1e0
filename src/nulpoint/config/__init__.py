"""Configuration: environment and config.yaml become one frozen, validated Config, or a list of all that is wrong."""

from nulpoint.config.loader import ConfigError, Problem, load
from nulpoint.config.model import Config
from nulpoint.config.place import Place

__all__ = ["Config", "ConfigError", "Place", "Problem", "load"]
