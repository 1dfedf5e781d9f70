"""The exceptions of radiosync.

Whatever a person can cause ends as a `UserError`: one line that names the thing, the reason and the mend.
Whatever the network can cause ends as a `RemoteProtocolError`, which a session catches and counts.
"""


class RadiosyncError(Exception):
    """The parent of every exception raised on purpose."""


class UserError(RadiosyncError):
    """A person's input or machine is at fault; the message is one clear line, the exit status 2."""


class ConfigError(UserError):
    """A configuration file or option is at fault."""


class SourceError(UserError):
    """A music source can't be used."""


class DeviceError(UserError):
    """A sound device or output can't be used."""


class RecordingError(UserError):
    """A recording does not hold what it should."""


class NetworkError(UserError):
    """An address, interface, port or group can't be used."""


class RemoteProtocolError(RadiosyncError):
    """Bytes from the network do not make a valid message."""
