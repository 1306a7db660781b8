//! UnionPay's ACP 5.1.0: RSA with SHA-256 over the hexadecimal SHA-256 of the fields in the order of their names.
//!
//! A message names its key by the serial number of a certificate, `certId`, or carries the certificate itself,
//! `signPubKeyCert`. The latter is used for its number alone: what verifies is the key that we know under it.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{Form, KeyError, PrivateKey, PublicKey, SignatureError, agreed, base64, keys::Certificate, required};

const SIGNATURE: &str = "signature";
const SIGN_METHOD: &str = "signMethod";
/// RSA with certificates.
const RSA: &str = "01";
const CERT_ID: &str = "certId";
const CERTIFICATE: &str = "signPubKeyCert";

/// The keys that count, by the decimal serial number of their certificates. Old and new stand side by side while the
/// channel changes over.
#[derive(Clone, Debug, Default)]
pub struct Keys(BTreeMap<String, PublicKey>);

impl Keys {
    pub fn new() -> Self {
        Self::default()
    }

    /// # Errors
    /// It is not PEM with a certificate of an RSA key of 2048 bits or more.
    pub fn and_certificate(mut self, pem: &str) -> Result<Self, KeyError> {
        let Certificate { serial, key } = Certificate::read(pem)?;
        self.0.insert(serial, key);
        Ok(self)
    }

    fn of(&self, message: &Form) -> Result<&PublicKey, SignatureError> {
        let number = match (message.get(CERT_ID), message.get(CERTIFICATE)) {
            (Some(number), _) => str::from_utf8(number).ok().map(str::to_owned),
            (None, Some(pem)) => {
                let certificate = str::from_utf8(pem).ok().and_then(|pem| Certificate::read(pem).ok());
                Some(certificate.ok_or(SignatureError::Malformed { field: CERTIFICATE })?.serial)
            }
            (None, None) => return Err(SignatureError::Missing { field: CERT_ID }),
        };
        number.and_then(|number| self.0.get(&number)).ok_or(SignatureError::UnknownKey)
    }
}

/// # Errors
/// It is not signed, or not by one of these keys.
pub fn verify(message: &Form, keys: &Keys) -> Result<(), SignatureError> {
    agreed(message, SIGN_METHOD, RSA)?;
    let signature = base64(required(message, SIGNATURE)?, SIGNATURE)?;
    keys.of(message)?.verify(&digest(message), &signature)
}

/// Signs a message that has its `certId` or `signPubKeyCert` already.
///
/// # Errors
/// It has neither.
pub fn sign(message: &mut Form, key: &PrivateKey) -> Result<(), SignatureError> {
    if message.get(CERT_ID).or(message.get(CERTIFICATE)).is_none() {
        return Err(SignatureError::Missing { field: CERT_ID });
    }
    message.push(SIGN_METHOD, RSA);
    let signature = key.sign(&digest(message))?;
    message.push(SIGNATURE, signature);
    Ok(())
}

fn digest(message: &Form) -> Vec<u8> {
    HEXLOWER.encode(&Sha256::digest(message.joined(&[SIGNATURE]))).into_bytes()
}
