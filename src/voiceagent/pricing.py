"""What a turn's use of the back-ends may have cost, by prices that the settings name; nothing is known of any itself."""

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Price(BaseModel):
    """The prices of one model in US dollars; what it has no price for costs nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens_in: Usd = Field(0.0, description="A million tokens that go in.")
    tokens_cached: Usd | None = Field(None, description="A million of those that were cached; unset: as the others.")
    tokens_out: Usd = Field(0.0, description="A million tokens that come out.")
    characters: Usd = Field(0.0, description="A million characters that are spoken.")
    audio_min: Usd = Field(0.0, description="A minute of audio, heard or spoken.")

    def of_tokens(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> float:
        """Return what so many tokens cost; the cached ones are among those that go in."""
        cached = self.tokens_in if self.tokens_cached is None else self.tokens_cached
        dear = max(0, tokens_in - tokens_cached)
        return (dear * self.tokens_in + tokens_cached * cached + tokens_out * self.tokens_out) / 1e6

    def of_speech(self, characters: int, audio_us: int) -> float:
        """Return what so much speech costs."""
        return characters * self.characters / 1e6 + audio_us * self.audio_min / 60e6


def together(prices: Mapping[str, Price], bills: Iterable[float | None]) -> float | None:
    """Return the sum of the bills; None if there are no prices, or one is missing."""
    known = list(bills)
    if not prices or None in known:
        return None
    return round(sum(cost for cost in known if cost is not None), 9)
