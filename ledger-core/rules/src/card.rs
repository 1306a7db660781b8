//! A campus card: what is on it by the ledger's account, what it may spend, and whether its holder can be debited.
//! The card host is the authority on what the card can buy; here stands what went through the ledger.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, FixedOffset, NaiveDate};
use schemas::{Amount, Balance, Data, Event, Name, events::*};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{is_default, order::Order};

/// For how many days back from its newest purchase a card remembers what it spent.
const DAYS_KEPT: u64 = 7;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Card {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub school: Option<Name>,
    /// By the number of the link.
    #[serde(skip_serializing_if = "is_default")]
    pub links: BTreeMap<String, Link>,
    /// By the time from which each is in force.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: BTreeMap<DateTime<FixedOffset>, Option<Amount>>,
    /// By the number of the report.
    #[serde(skip_serializing_if = "is_default")]
    pub suspensions: BTreeMap<String, Suspension>,
    /// By the channel's number of the agreement.
    #[serde(skip_serializing_if = "is_default")]
    pub mandates: BTreeMap<String, Mandate>,
    /// Usable, by the ledger's account.
    pub balance: Balance,
    /// Paid and not yet on the card.
    pub pending_load: Balance,
    /// Restricted to the campus.
    pub subsidy: Balance,
    /// What was spent, on the last days.
    #[serde(skip_serializing_if = "is_default")]
    pub spent: BTreeMap<NaiveDate, Balance>,
    /// Purchases whose debit was given up for now, by order number.
    #[serde(skip_serializing_if = "is_default")]
    pub uncollected: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    pub holder: Option<Uuid>,
    pub ended: bool,
}

/// Both ends may be told in either order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Suspension {
    pub from: Option<DateTime<FixedOffset>>,
    pub until: Option<DateTime<FixedOffset>>,
}

/// Both ends may be told in either order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mandate {
    pub channel: Option<Name>,
    pub product_code: Option<String>,
    pub signed_at: Option<DateTime<FixedOffset>>,
    pub ended_at: Option<DateTime<FixedOffset>>,
}

impl Mandate {
    pub fn is_active(&self) -> bool {
        self.signed_at.is_some() && self.ended_at.is_none()
    }
}

impl Card {
    pub fn apply(&mut self, event: &Event) {
        match &event.data {
            Data::CardholderLinked(data) => {
                self.of_school(&data.school);
                self.links.entry(data.link_no.clone()).or_default().holder = Some(data.holder);
            }
            Data::CardholderUnlinked(data) => self.links.entry(data.link_no.clone()).or_default().ended = true,
            Data::SpendingLimitSet(data) => {
                let limit = self.limits.entry(data.effective_from).or_insert(data.daily_limit);
                // Two settings of one moment: the stricter one counts, whichever is read first.
                *limit = stricter(*limit, data.daily_limit);
            }
            Data::CardSuspended(data) => self.suspension(&data.report_no).from = Some(data.effective_at),
            Data::CardReinstated(data) => self.suspension(&data.report_no).until = Some(data.effective_at),
            Data::WithholdingMandateSigned(data) => {
                let mandate = self.mandates.entry(data.agreement_no.clone()).or_default();
                mandate.channel = Some(data.channel.clone());
                mandate.product_code = Some(data.product_code.clone());
                mandate.signed_at = Some(event.occurred_at);
            }
            Data::WithholdingMandateEnded(data) => {
                let mandate = self.mandates.entry(data.agreement_no.clone()).or_default();
                mandate.channel.get_or_insert_with(|| data.channel.clone());
                mandate.ended_at = Some(event.occurred_at);
            }
            Data::SubsidyGranted(data) => {
                self.of_school(&data.school);
                self.subsidy += data.amount;
            }
            Data::TopUpRequested(data) => self.of_school(&data.school),
            Data::CardCredited(data) => match data.mode {
                CreditMode::Online => self.balance += data.amount,
                CreditMode::PendingLoad => self.pending_load += data.amount,
            },
            Data::CardValueLoaded(data) => {
                self.pending_load -= data.amount;
                self.balance += data.amount;
            }
            Data::ConfirmationRevoked(data) if data.reason == RevocationReason::CardDebitedBack => {
                *self.topped_up(data.mode) -= data.amount;
            }
            // A top-up's value is taken back. What had been debited for a purchase was never on the card.
            Data::ChargebackClosed(data) if data.merchant.is_none() => {
                *self.topped_up(data.mode) -= data.borne_by_beneficiary();
            }
            Data::PurchasePosted(data) => {
                self.of_school(&data.school);
                self.spend(data.consumed_on, data.amount);
                self.move_value(data.funding, -Balance::from(data.amount));
            }
            Data::PurchaseRefunded(data) => self.move_value(data.funding, data.amount.into()),
            _ => {}
        }
    }

    /// Where the value of a top-up is.
    fn topped_up(&mut self, mode: Option<CreditMode>) -> &mut Balance {
        match mode {
            Some(CreditMode::PendingLoad) => &mut self.pending_load,
            Some(CreditMode::Online) | None => &mut self.balance,
        }
    }

    fn of_school(&mut self, school: &Name) {
        self.school = self.school.take().max(Some(school.clone()));
    }

    fn suspension(&mut self, report_no: &str) -> &mut Suspension {
        self.suspensions.entry(report_no.to_owned()).or_default()
    }

    /// Withholding takes nothing off the card.
    fn move_value(&mut self, funding: Funding, change: Balance) {
        match funding {
            Funding::CardBalance => self.balance += change,
            Funding::Subsidy => self.subsidy += change,
            Funding::Withholding => {}
        }
    }

    /// Days before the last ones are dropped. Which ones are kept depends on the newest alone, so on no order of arrival.
    fn spend(&mut self, day: NaiveDate, amount: Amount) {
        *self.spent.entry(day).or_default() += amount;
        let newest = self.spent.keys().next_back().copied().unwrap_or(day);
        let oldest = newest.checked_sub_days(Days::new(DAYS_KEPT)).unwrap_or(NaiveDate::MIN);
        self.spent = self.spent.split_off(&oldest);
    }

    /// Notes where a purchase stands after a change.
    pub fn note(&mut self, order_id: &str, order: &Order) {
        let uncollected = order.purchase.as_ref().is_some_and(|purchase| purchase.is_uncollected(order));
        if uncollected {
            self.uncollected.insert(order_id.to_owned());
        } else {
            self.uncollected.remove(order_id);
        }
    }

    /// What may be spent a day at this time; `None`: as much as there is.
    pub fn limit_at(&self, time: DateTime<FixedOffset>) -> Option<Amount> {
        self.limits.range(..=time).next_back().and_then(|(_, limit)| *limit)
    }

    /// What may be spent a day by the newest setting, though it may not be in force yet.
    pub fn newest_limit(&self) -> Option<Amount> {
        self.limits.values().next_back().copied().flatten()
    }

    /// Whether a report of its loss stands.
    pub fn is_suspended(&self) -> bool {
        self.suspensions.values().any(|report| report.from.is_some() && report.until.is_none())
    }

    pub fn spent_on(&self, day: NaiveDate) -> Balance {
        self.spent.get(&day).copied().unwrap_or_default()
    }

    /// Whether its loss had been reported by this time, and not taken back.
    pub fn is_suspended_at(&self, time: DateTime<FixedOffset>) -> bool {
        let covers = |report: &Suspension| {
            report.from.is_some_and(|from| from <= time) && report.until.is_none_or(|until| time < until)
        };
        self.suspensions.values().any(covers)
    }

    /// The newest mandate that is in force.
    pub fn mandate(&self) -> Option<&str> {
        self.newest_mandate(Mandate::is_active)
    }

    /// The newest mandate that was ever signed: what was bought under it may still be debited.
    pub fn any_mandate(&self) -> Option<&str> {
        self.mandate().or_else(|| self.newest_mandate(|mandate| mandate.signed_at.is_some()))
    }

    fn newest_mandate(&self, which: impl Fn(&Mandate) -> bool) -> Option<&str> {
        let mandates = self.mandates.iter().filter(|(_, mandate)| which(mandate));
        mandates.max_by_key(|(number, mandate)| (mandate.signed_at, number.as_str())).map(|(number, _)| number.as_str())
    }

    /// The person to whom it is linked, if there is one.
    pub fn holder(&self) -> Option<Uuid> {
        self.links.values().filter(|link| !link.ended).filter_map(|link| link.holder).max()
    }
}

fn stricter(a: Option<Amount>, b: Option<Amount>) -> Option<Amount> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (limit, None) | (None, limit) => limit,
    }
}

#[cfg(test)]
mod tests;
