//! Money. On the wire a decimal string in yuan with two digits, inside whole fen.
//! [`Amount`] is never negative; [`Balance`] may be.

use std::{
    fmt,
    iter::Sum,
    marker::PhantomData,
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// The largest amount of one event: 9,999,999,999.99 yuan, the twelve digits of ISO 8583 field 4.
pub const AMOUNT_MAX_FEN: i64 = 999_999_999_999;

/// An amount of money in whole fen (1/100 CNY), zero or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i64);

/// A signed sum of money in whole fen: debit positive, credit negative. It has no limit but that of its 63 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Balance(i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("an amount is written in yuan with exactly two decimals, such as \"800.00\"")]
    Format,
    #[error("an amount may not be negative")]
    Negative,
    #[error("an amount may not exceed 9999999999.99 yuan")]
    TooLarge,
}

impl Amount {
    pub const ZERO: Self = Self(0);

    /// From whole fen.
    pub fn from_fen(fen: i64) -> Result<Self, AmountError> {
        match fen {
            ..0 => Err(AmountError::Negative),
            0..=AMOUNT_MAX_FEN => Ok(Self(fen)),
            _ => Err(AmountError::TooLarge),
        }
    }

    pub fn fen(self) -> i64 {
        self.0
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// What is left of `self` after `other`; zero when `other` is the larger.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self((self.0 - other.0).max(0))
    }
}

impl Balance {
    pub const ZERO: Self = Self(0);

    pub fn from_fen(fen: i64) -> Self {
        Self(fen)
    }

    pub fn fen(self) -> i64 {
        self.0
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The part above zero, as an amount.
    pub fn debit(self) -> Amount {
        Amount(self.0.max(0))
    }

    /// The part below zero, as an amount.
    pub fn credit(self) -> Amount {
        Amount((-self.0).max(0))
    }
}

impl From<Amount> for Balance {
    fn from(amount: Amount) -> Self {
        Self(amount.0)
    }
}

/// Totals of amounts may grow past the limit of a single one, so sums are plain additions;
/// overflow checks are on in every build.
impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Balance;
    fn sub(self, other: Self) -> Balance {
        Balance(self.0 - other.0)
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl<T: Into<Balance>> Add<T> for Balance {
    type Output = Self;
    fn add(self, other: T) -> Self {
        Self(self.0 + other.into().0)
    }
}

impl<T: Into<Balance>> Sub<T> for Balance {
    type Output = Self;
    fn sub(self, other: T) -> Self {
        Self(self.0 - other.into().0)
    }
}

impl<T: Into<Balance>> AddAssign<T> for Balance {
    fn add_assign(&mut self, other: T) {
        *self = *self + other;
    }
}

impl<T: Into<Balance>> SubAssign<T> for Balance {
    fn sub_assign(&mut self, other: T) {
        *self = *self - other;
    }
}

impl Neg for Balance {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Sum for Balance {
    fn sum<I: Iterator<Item = Self>>(balances: I) -> Self {
        balances.fold(Self::ZERO, Add::add)
    }
}

fn write_yuan(f: &mut fmt::Formatter<'_>, fen: i64) -> fmt::Result {
    let sign = if fen < 0 { "-" } else { "" };
    let fen = fen.unsigned_abs();
    f.pad(&format!("{sign}{}.{:02}", fen / 100, fen % 100))
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_yuan(f, self.0)
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_yuan(f, self.0)
    }
}

/// One spelling per value: no sign, no leading zeros, two decimals.
fn parse_yuan(text: &str) -> Result<i64, AmountError> {
    let (yuan, fen) = text.split_once('.').ok_or(AmountError::Format)?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = yuan.len() > 1 && yuan.starts_with('0');
    if fen.len() != 2 || !digits(yuan) || !digits(fen) || leading_zero {
        return Err(AmountError::Format);
    }
    format!("{yuan}{fen}").parse().map_err(|_| AmountError::TooLarge)
}

impl FromStr for Amount {
    type Err = AmountError;
    fn from_str(text: &str) -> Result<Self, AmountError> {
        match text.strip_prefix('-') {
            Some(rest) => Err(parse_yuan(rest).err().unwrap_or(AmountError::Negative)),
            None => Self::from_fen(parse_yuan(text)?),
        }
    }
}

impl FromStr for Balance {
    type Err = AmountError;
    fn from_str(text: &str) -> Result<Self, AmountError> {
        match text.strip_prefix('-') {
            Some("0.00") => Err(AmountError::Format),
            Some(rest) => Ok(Self(-parse_yuan(rest)?)),
            None => Ok(Self(parse_yuan(text)?)),
        }
    }
}

struct DecimalString<T>(PhantomData<T>);

impl<T: FromStr<Err = AmountError>> Visitor<'_> for DecimalString<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("yuan as a string with two decimals")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    // A number instead of a string is the usual mistake, so it is answered as a wrong amount, not as a wrong type.
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<T, E> {
        Err(E::custom(AmountError::Format))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<T, E> {
        Err(E::custom(AmountError::Format))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<T, E> {
        Err(E::custom(AmountError::Format))
    }
}

macro_rules! as_string_on_the_wire {
    ($type:ident, $pattern:literal, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(DecimalString(PhantomData))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}

as_string_on_the_wire!(
    Amount,
    "^(0|[1-9][0-9]{0,9})\\.[0-9]{2}$",
    "Yuan (CNY) as a decimal string with two digits, zero or more"
);
as_string_on_the_wire!(
    Balance,
    "^(0|-?[1-9][0-9]{0,9})\\.[0-9]{2}$|^-0\\.(0[1-9]|[1-9][0-9])$",
    "Yuan (CNY) as a signed decimal string with two digits"
);

/// How a sum of amounts is kept where it is read again: as an amount, though it may be larger than one of an event.
pub mod total {
    use super::{Amount, Balance, Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(total: &Amount, serializer: S) -> Result<S::Ok, S::Error> {
        total.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        Balance::deserialize(deserializer).map(Balance::debit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_per_value() {
        for (text, fen) in [("0.00", 0), ("0.01", 1), ("800.00", 80_000), ("9999999999.99", AMOUNT_MAX_FEN)] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!((amount.fen(), amount.to_string()), (fen, text.to_owned()));
        }
        for text in ["", "1", "1.0", "1.000", "01.00", ".50", "1,000.00", "+1.00", " 1.00", "1e2", "١.00", "--1.00"] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::Format), "{text}");
        }
        assert_eq!("-1.00".parse::<Amount>(), Err(AmountError::Negative));
        assert_eq!("10000000000.00".parse::<Amount>(), Err(AmountError::TooLarge));
    }

    #[test]
    fn a_balance_may_be_negative_but_has_no_negative_zero() {
        assert_eq!("-300.05".parse::<Balance>().unwrap().fen(), -30_005);
        assert_eq!(Balance::from_fen(-5).to_string(), "-0.05");
        assert_eq!("-0.00".parse::<Balance>(), Err(AmountError::Format));
        assert_eq!("-20000000000.00".parse::<Balance>().unwrap().fen(), -2_000_000_000_000, "sums may be larger");
        assert_eq!("92233720368547758.08".parse::<Balance>(), Err(AmountError::TooLarge));
    }
}
