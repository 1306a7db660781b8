//! China UMS (银联商务): SHA-256 over the fields in the order of their names and the key, for forms and for JSON.

use data_encoding::HEXUPPER;
use sha2::{Digest, Sha256};

use super::{Form, Secret, SignatureError, agreed, required, same_digest};

const SIGN: &str = "sign";
const SIGN_TYPE: &str = "signType";
/// Without `signType` the channel means MD5, which is not taken.
const SHA256: &str = "SHA256";

/// # Errors
/// It is not signed, or not with this key.
pub fn verify(message: &Form, key: &Secret) -> Result<(), SignatureError> {
    agreed(message, SIGN_TYPE, SHA256)?;
    same_digest(&digest(message, key), required(message, SIGN)?, SIGN)
}

pub fn sign(message: &mut Form, key: &Secret) {
    message.push(SIGN_TYPE, SHA256);
    let sign = HEXUPPER.encode(&digest(message, key));
    message.push(SIGN, sign);
}

fn digest(message: &Form, key: &Secret) -> [u8; 32] {
    let digest = Sha256::new().chain_update(message.joined(&[SIGN])).chain_update(key.bytes());
    digest.finalize().into()
}
