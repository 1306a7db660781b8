//! BestPay (翼支付) of 2011: MD5 over seven fields in a given order and the key. It keeps honest messages whole, and is no
//! more than the gateway offers: the amount still has to be the one that was ordered, and the statement has the last word.

use data_encoding::HEXUPPER;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::{Form, Secret, SignatureError, required, same_digest};

const SIGN: &str = "SIGN";

/// What the order, its amount and the day are called in what is signed. The fields themselves have the same names at both
/// gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wording {
    #[default]
    /// `ORDERID`, `PAYMENT`, `PAYDATE`.
    Web,
    /// `ORDERSEQ`, `ORDERAMOUNT`, `TRANDATE`.
    Mobile,
}

impl Wording {
    const fn names(self) -> [&'static str; 3] {
        match self {
            Self::Web => ["ORDERID", "PAYMENT", "PAYDATE"],
            Self::Mobile => ["ORDERSEQ", "ORDERAMOUNT", "TRANDATE"],
        }
    }
}

/// A merchant of the gateway. Its number is signed and need not be in the message.
#[derive(Clone, Debug)]
pub struct Merchant {
    pub id: String,
    pub key: Secret,
    pub wording: Wording,
}

impl Merchant {
    /// # Errors
    /// It is not signed, not with this key, or for another merchant.
    pub fn verify(&self, notice: &Form) -> Result<(), SignatureError> {
        let claimed = required(notice, SIGN)?;
        same_digest(&self.digest(notice)?, claimed, SIGN)
    }

    /// Signs a notice as the gateway does.
    ///
    /// # Errors
    /// A field that is signed is missing.
    pub fn sign(&self, notice: &mut Form) -> Result<(), SignatureError> {
        let sign = HEXUPPER.encode(&self.digest(notice)?);
        notice.push(SIGN, sign);
        Ok(())
    }

    fn digest(&self, notice: &Form) -> Result<[u8; 16], SignatureError> {
        let [order, amount, date] = self.wording.names();
        let fields = [
            ("UPTRANSEQ", required(notice, "UPTRANSEQ")?),
            ("MERCHANTID", self.id.as_bytes()),
            (order, required(notice, "ORDERSEQ")?),
            (amount, required(notice, "ORDERAMOUNT")?),
            ("RETNCODE", required(notice, "RETNCODE")?),
            ("RETNINFO", notice.get("RETNINFO").unwrap_or_default()),
            (date, required(notice, "TRANDATE")?),
            ("KEY", self.key.bytes()),
        ];
        let text: Vec<Vec<u8>> = fields.iter().map(|(name, value)| [name.as_bytes(), b"=", value].concat()).collect();
        Ok(Md5::digest(text.join(&b'&')).into())
    }
}
