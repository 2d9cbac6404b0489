"""Why a call to a foreign host came to nothing."""


class OutboundError(Exception):
    """The request was not answered; the message is one line that an owner may read."""


class TargetForbidden(OutboundError):
    """The target may not be called: by its URL, or by an address that its name leads to."""
