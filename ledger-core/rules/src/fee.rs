//! Channel fees: a rate on an amount, rounded half-up to the fen.

use rust_decimal::{Decimal, RoundingStrategy, prelude::ToPrimitive};
use schemas::Amount;

use crate::policy::ChannelTerms;

/// The fee on `amount` at `rate` (0.002 is 0.20 %). `None` when the result is no amount.
pub fn fee(amount: Amount, rate: Decimal) -> Option<Amount> {
    let fen = Decimal::from(amount.fen()) * rate;
    Amount::from_fen(fen.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero).to_i64()?).ok()
}

/// The fee on `amount` as it was agreed.
pub fn agreed(amount: Amount, terms: &ChannelTerms) -> Amount {
    fee(amount, Decimal::new(terms.fee_ppm.into(), 6)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_rounded_half_up() {
        let rate: Decimal = "0.002".parse().unwrap();
        for (amount, expected) in
            [("5000.00", "10.00"), ("1200.00", "2.40"), ("300.00", "0.60"), ("2.50", "0.01"), ("2.49", "0.00")]
        {
            assert_eq!(fee(amount.parse().unwrap(), rate), Some(expected.parse().unwrap()), "{amount}");
        }
    }
}
