"""Makes what signs people in at the identity provider, where the settings name one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.db import Database
from backend.oidc.registration import registration_of
from backend.sealing import Sealer
from backend.sessions.sign_up import SignUp
from contracts.runtime.clock import Clock
from contracts.runtime.settings import Settings

if TYPE_CHECKING:
    from backend.oidc.refresher import Refresher
    from backend.oidc.service import SingleSignOn


@dataclass(frozen=True, slots=True)
class ProviderServices:
    """What a provider makes possible: signing in there, and asking it about sessions."""

    single_sign_on: "SingleSignOn"
    refresher: "Refresher"

    async def close(self) -> None:
        """Closes the connections to the provider."""
        await self.single_sign_on.close()


def create_provider_services(
    settings: Settings, database: Database, clock: Clock, sealer: Sealer, sign_up: SignUp
) -> ProviderServices | None:
    """The services; None if the settings name no provider. Raises SettingsError."""
    registration = registration_of(settings, sealer)
    if registration is None:
        return None
    # Imported where they are wanted: the libraries behind them take an eighth of a second.
    from backend.oidc.calls import ProviderCalls
    from backend.oidc.provider import Provider
    from backend.oidc.refresher import Refresher
    from backend.oidc.service import SingleSignOn
    from backend.oidc.sign_in import ProviderSignIn
    from backend.oidc.tokens import Tokens

    provider = Provider(registration, ProviderCalls(), clock)
    tokens = Tokens(registration, provider, clock)
    sign_in = ProviderSignIn(database, clock, registration, sealer, sign_up)
    return ProviderServices(
        SingleSignOn(registration, provider, tokens, sign_in, database, sealer, clock),
        Refresher(provider, database, sealer, clock),
    )
