//! Keyed hashes that stand in the log in place of personal and contract numbers.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use schemas::{OrderId, Stream, StreamKind};
use sha2::Sha256;
use uuid::Uuid;

/// Turns numbers into opaque tokens under a secret that never leaves the configuration.
#[derive(Clone)]
pub struct Tokens {
    key: Vec<u8>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(secret)")
    }
}

impl Tokens {
    pub fn new(secret: &str) -> Self {
        Self { key: secret.as_bytes().to_vec() }
    }

    /// HMAC-SHA256 over length-prefixed parts, so that no two lists of parts hash alike.
    fn hash<const N: usize>(&self, purpose: &str, parts: &[&str]) -> [u8; N] {
        let mut mac = match Hmac::<Sha256>::new_from_slice(&self.key) {
            Ok(mac) => mac,
            // HMAC takes keys of any length.
            Err(_) => unreachable!(),
        };
        for part in std::iter::once(&purpose).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let digest = mac.finalize().into_bytes();
        std::array::from_fn(|i| digest[i])
    }

    /// The bearer token of a client of the door.
    pub fn client(&self, source: &str) -> String {
        HEXLOWER.encode(&self.hash::<24>("client", &[source]))
    }

    /// The stream of a loan contract at a bank, of a card or of a student's fees at a school.
    pub fn stream(&self, kind: StreamKind, party: &str, number: &str) -> Stream {
        Stream::new(kind, self.hash(kind.as_str(), &[party, number]))
    }

    /// The opaque id of a student, from the number that the school gave them.
    pub fn student(&self, school: &str, number: &str) -> Uuid {
        uuid::Builder::from_custom_bytes(self.hash("student", &[school, number])).into_uuid()
    }

    /// The opaque id of a person, from the normalised number of their document.
    pub fn person(&self, id_number: &str) -> Uuid {
        uuid::Builder::from_custom_bytes(self.hash("person", &[id_number])).into_uuid()
    }

    /// The order number of a request: the same client and idempotency key give the same number again.
    pub fn order(&self, stream: &Stream, client: &str, idempotency_key: &str) -> Option<OrderId> {
        OrderId::new(stream, self.hash("order", &[client, idempotency_key]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_depend_on_the_secret_and_on_every_part() {
        let (a, b) = (Tokens::new("a"), Tokens::new("b"));
        let loan = |tokens: &Tokens, bank, contract| tokens.stream(StreamKind::Loan, bank, contract);
        assert_eq!(loan(&a, "cdb", "K1"), loan(&a, "cdb", "K1"));
        assert_ne!(loan(&a, "cdb", "K1"), loan(&b, "cdb", "K1"));
        assert_ne!(loan(&a, "cdb", "K1"), loan(&a, "cdbK", "1"));
        assert_ne!(
            a.stream(StreamKind::Card, "x", "1").as_str()[5..],
            a.stream(StreamKind::Fees, "x", "1").as_str()[5..]
        );
        assert_ne!(a.person("11010519491231002X"), b.person("11010519491231002X"));
        let stream = loan(&a, "cdb", "K1");
        assert_eq!(a.order(&stream, "ums-pos", "1"), a.order(&stream, "ums-pos", "1"));
        assert_ne!(a.order(&stream, "ums-pos", "1"), a.order(&stream, "unionpay-cqp", "1"));
    }
}
