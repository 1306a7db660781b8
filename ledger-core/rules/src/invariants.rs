//! What must hold at every position of the log, whatever happened. The tests use it; what the views must add up to stands
//! in their SQL.

use std::collections::BTreeMap;

use schemas::{Amount, Balance};

use crate::{
    accounts::{Account, AccountCode},
    order::Order,
    postings::Leg,
};

/// Money held for somebody, where it is, and the gap between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub held: Balance,
    pub located: Balance,
    pub gap: Balance,
}

/// Balances by account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Books(BTreeMap<Account, Balance>);

impl Books {
    pub fn post(&mut self, legs: impl IntoIterator<Item = Leg>) {
        for leg in legs {
            let balance = self.0.entry(leg.account).or_default();
            *balance += leg.amount;
        }
        self.0.retain(|_, balance| !balance.is_zero());
    }

    pub fn balance(&self, code: AccountCode, owner: &str) -> Balance {
        self.0.get(&Account::new(code, owner)).copied().unwrap_or_default()
    }

    pub fn total(&self, code: AccountCode) -> Balance {
        self.0.iter().filter(|(account, _)| account.code == code).map(|(_, balance)| *balance).sum()
    }

    /// Zero, always.
    pub fn trial_balance(&self) -> Balance {
        self.0.values().copied().sum()
    }

    /// Held: the credits of all accounts that hold money for somebody, account by account. Where: banks, channels, and
    /// in transit. Gap: everything else. Where + gap = held.
    pub fn position(&self) -> Position {
        let mut position = Position::default();
        for (account, balance) in &self.0 {
            if is_held(account.code) {
                position.held += balance.credit();
                position.gap += balance.debit();
            } else if is_where(account.code) {
                position.located += *balance;
            } else {
                position.gap += *balance;
            }
        }
        position
    }
}

/// Money we hold for somebody: a credit here is a promise, a debit a gap.
fn is_held(code: AccountCode) -> bool {
    (2000..3000).contains(&code.number())
}

/// Where money is.
fn is_where(code: AccountCode) -> bool {
    (1010..1200).contains(&code.number())
}

/// Whether an order's totals agree with the books: what was taken is with the payer's clearing account, with the bank,
/// or promised back.
pub fn order_agrees_with_books(order: &Order, order_id: &str, books: &Books, applied: Balance) -> bool {
    let taken = order.captured() - order.reversed() - order.refunded();
    let clearing = -books.balance(AccountCode::PayerClearing, order_id);
    let refund_payable = -books.balance(AccountCode::RefundPayable, order_id);
    taken == clearing + applied + refund_payable
}

/// Whether no capture has more going back by refunds than was taken. That a channel also reverses what has been refunded
/// is beyond our control; it shows as an exception.
pub fn refunds_stay_within_captures(order: &Order) -> bool {
    order.captures.iter().all(|capture| {
        let refunds: Amount = order
            .refunds
            .values()
            .filter(|refund| refund.capture_id == Some(capture.id))
            .map(|refund| refund.committed())
            .sum();
        refunds <= capture.amount
    })
}
