"""The admission webhook that knows who a container will really run as."""

__version__ = "0.1.0"
