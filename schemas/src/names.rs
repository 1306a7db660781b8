//! Identifiers that travel in events: streams, order numbers, names of channels and parties.
//! Each has one spelling, checked when it is read, and none holds a personal number.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::events::words;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct NameError {
    text: String,
    expected: &'static str,
}

/// Letters of RFC 4648 base 32, which is how tokens and order numbers are written.
fn is_base32(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
}

fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

macro_rules! checked_string {
    ($(#[$doc:meta])* $type:ident, $pattern:literal, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Box<str>);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { text: text.chars().take(80).collect(), expected: $expected })
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": concat!("Must be ", $expected) })
            }
        }
    };
}

checked_string!(
    /// Who collects or receives: a channel (`ums-pos`), a bank or school (`cdb`), a bank account of ours.
    Name,
    "^[a-z][a-z0-9-]{0,31}$",
    "a name of lower-case letters, digits and hyphens, at most 32 long",
    is_name
);

checked_string!(
    /// What must stay in order together, and the key of the record: `loan:<token>`, `card:<token>`, `fees:<token>` or
    /// `channel:<name>`. The token is a keyed hash, so that no contract, card or student number stands in a key.
    Stream,
    "^((loan|card|fees):[A-Z2-7]{16}|channel:[a-z][a-z0-9-]{0,31})$",
    "a stream such as loan:<16 letters of base 32> or channel:<name>",
    |text| match text.split_once(':') {
        Some(("channel", name)) => is_name(name),
        Some((kind, token)) => StreamKind::of_word(kind).is_some() && token.len() == 16 && is_base32(token),
        None => false,
    }
);

checked_string!(
    /// An order number that we issue. It carries the token of its stream, so that a notice finds its stream
    /// without a look-up, and fits the 32 characters that acquirers allow.
    OrderId,
    "^[LCF][A-Z2-7]{29}$",
    "an order number that this ledger issued (L, C or F and 29 letters of base 32)",
    |text| text.len() == 30 && StreamKind::of_letter(text).is_some() && is_base32(&text[1..])
);

words! {
    /// What a stream is about, when it is not a channel: what the money of its orders is for.
    StreamKind {
        /// A loan contract (贷款合同).
        Loan = "loan",
        /// A campus card (校园卡).
        Card = "card",
        /// What a student owes a school (学费账户).
        Fees = "fees",
    }
}

impl StreamKind {
    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }

    /// How the keys of such streams begin.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Loan => "loan:",
            Self::Card => "card:",
            Self::Fees => "fees:",
        }
    }

    /// The first letter of the order numbers on such a stream.
    pub fn letter(self) -> char {
        match self {
            Self::Loan => 'L',
            Self::Card => 'C',
            Self::Fees => 'F',
        }
    }

    fn of_letter(order: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| order.starts_with(kind.letter()))
    }
}

impl Stream {
    pub fn new(kind: StreamKind, token: [u8; 10]) -> Self {
        Self(format!("{kind}:{}", data_encoding::BASE32_NOPAD.encode(&token)).into())
    }

    pub fn loan(token: [u8; 10]) -> Self {
        Self::new(StreamKind::Loan, token)
    }

    /// The stream of what belongs to a channel or a party as a whole.
    pub fn channel(name: &Name) -> Self {
        Self(format!("channel:{name}").into())
    }

    /// What it is about; `None` for a channel.
    pub fn kind(&self) -> Option<StreamKind> {
        StreamKind::of_word(self.0.split(':').next()?)
    }
}

impl OrderId {
    /// A new order number on `stream`; `unique` tells the orders of one stream apart.
    /// `None` for a stream that takes no orders.
    pub fn new(stream: &Stream, unique: [u8; 8]) -> Option<Self> {
        let kind = stream.kind()?;
        let (_, token) = stream.0.split_once(':')?;
        Some(Self(format!("{}{token}{}", kind.letter(), data_encoding::BASE32_NOPAD.encode(&unique)).into()))
    }

    /// The order number that is made of these.
    pub fn of(kind: StreamKind, token: [u8; 10], unique: [u8; 8]) -> Self {
        let [token, unique] = [&token[..], &unique].map(|bytes| data_encoding::BASE32_NOPAD.encode(bytes));
        Self(format!("{}{token}{unique}", kind.letter()).into())
    }

    pub fn stream(&self) -> Stream {
        Stream(format!("{}:{}", self.kind(), &self.0[1..17]).into())
    }

    /// What its stream is about.
    pub fn kind(&self) -> StreamKind {
        StreamKind::of_letter(&self.0).unwrap_or(StreamKind::Loan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_number_carries_its_stream() {
        for kind in StreamKind::ALL {
            let stream = Stream::new(*kind, [7; 10]);
            let order = OrderId::new(&stream, [9; 8]).unwrap();
            assert_eq!((order.stream(), order.kind(), stream.kind()), (stream.clone(), *kind, Some(*kind)));
            assert_eq!(order.as_str().parse::<OrderId>().unwrap(), order);
            assert_eq!(stream.as_str().parse::<Stream>().unwrap(), stream);
            assert!(order.as_str().len() <= 32);
        }
        assert_eq!(Stream::channel(&"ums-pos".parse().unwrap()).kind(), None);
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "loan:",
            "loan:abc",
            "channel:",
            "channel:UMS",
            "card",
            "loan:AAAAAAAAAAAAAAA1",
            "bank:AAAAAAAAAAAAAAAA",
        ] {
            assert!(text.parse::<Stream>().is_err(), "{text}");
        }
        for text in ["", "L", "l7777777777777777777777777777777", "XAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "支付"] {
            assert!(text.parse::<OrderId>().is_err(), "{text}");
        }
        assert!("9ab".parse::<Name>().is_err());
    }
}
