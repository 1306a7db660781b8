//! `POST /v1/card-top-ups`: a channel asks for a top-up of a campus card (充值).
//!
//! A card that does not exist, or whose name does not fit, gets no order number: such a request is refused here, by the
//! same rule that the coordinator has, and nothing of it is kept.

use chrono::{DateTime, FixedOffset};
use rules::admission;
use schemars::JsonSchema;
use schemas::{
    Amount, Name, StreamKind,
    events::{CardAnswer, IdentityAnswer, Method, TopUpRequested},
};
use serde::Deserialize;

use super::{
    Door, Problem,
    caller::Caller,
    problem::Code,
    requests::{Asked, Payer, Personal, Request, channel},
};

/// A request to top up a card.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct TopUpRequest {
    /// The channel that asks; may be left out by a client that has only one.
    channel: Option<Name>,
    /// The school that issued the card.
    school: Name,
    card: Card,
    amount: Amount,
    method: Option<Method>,
    /// What the card host answered about number and name.
    check: CardAnswer,
    /// Whether the payer was found to be who they say, where the channel asks for it.
    identity: Option<IdentityAnswer>,
    /// Who pays, if it is not the holder.
    payer: Option<Payer>,
    /// When the request was made, by the channel's clock; now if it is left out.
    requested_at: Option<DateTime<FixedOffset>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Card {
    /// The card's number at the school. Only a keyed hash of it is kept.
    #[schemars(length(min = 1))]
    pub number: Personal,
}

impl Request for TopUpRequest {
    fn asked(self, door: &Door, caller: &Caller) -> Result<Asked, Problem> {
        let channel = channel(caller, self.channel)?;
        let number = self.card.number.number("the card's number")?;
        let stream = door.tokens.stream(StreamKind::Card, self.school.as_str(), number);
        let data = TopUpRequested {
            channel: channel.clone(),
            school: self.school,
            amount: self.amount,
            method: self.method,
            card: self.check,
            identity: self.identity,
            payer: self.payer.map(|payer| payer.id(door)).transpose()?,
        };
        admission::judge_top_up(&data, &door.policy)
            .map_err(|reason| Problem::new(Code::Order(reason), "no order number was issued"))?;
        Ok(Asked { stream, channel, data: data.into(), at: self.requested_at })
    }
}
