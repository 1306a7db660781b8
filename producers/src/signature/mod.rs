//! How channels sign what they send, and how we sign what we send them: one file per scheme.
//!
//! What is signed are bytes. A notice is verified as it came, before anything is decoded from its character set, and
//! nothing is read from it before that. An error names a field and never its value, so that it may stand in a log.

pub mod alipay;
pub mod bestpay;
pub mod chinaums;
mod form;
mod json;
mod keys;
pub mod timestamped;
pub mod unionpay;

pub use form::{Charset, Form, FormError};
pub use keys::{KeyError, PrivateKey, PublicKey, Secret, key_text};

use data_encoding::{BASE64, HEXUPPER_PERMISSIVE};
use subtle::ConstantTimeEq;

/// Why a message is not taken for what it says it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error("{field} is not of its form")]
    Malformed { field: &'static str },
    #[error("{field} asks for another scheme than the one that is agreed on")]
    Unsupported { field: &'static str },
    #[error("no key is known for the certificate that it names")]
    UnknownKey,
    #[error("the signature is wrong")]
    Wrong,
    #[error("it was sent too long ago")]
    TooOld,
    #[error("it was sent in the future")]
    TooEarly,
    #[error("it could not be signed")]
    NotSigned,
    #[error(transparent)]
    Form(#[from] FormError),
}

/// The value of a field that has to be there. An empty one counts as missing, as in what is signed.
fn required<'f>(form: &'f Form, field: &'static str) -> Result<&'f [u8], SignatureError> {
    form.get(field).filter(|value| !value.is_empty()).ok_or(SignatureError::Missing { field })
}

/// A field that names the scheme: nobody but us chooses it.
fn agreed(form: &Form, field: &'static str, scheme: &str) -> Result<(), SignatureError> {
    if required(form, field)? == scheme.as_bytes() { Ok(()) } else { Err(SignatureError::Unsupported { field }) }
}

fn base64(value: &[u8], field: &'static str) -> Result<Vec<u8>, SignatureError> {
    BASE64.decode(value).map_err(|_| SignatureError::Malformed { field })
}

/// Compares a digest with one in hexadecimal digits, in a time that does not tell how much of it is right.
fn same_digest(digest: &[u8], hex: &[u8], field: &'static str) -> Result<(), SignatureError> {
    let claimed = HEXUPPER_PERMISSIVE.decode(hex).ok().filter(|claimed| claimed.len() == digest.len());
    let claimed = claimed.ok_or(SignatureError::Malformed { field })?;
    if digest.ct_eq(&claimed).into() { Ok(()) } else { Err(SignatureError::Wrong) }
}

#[cfg(test)]
mod tests;
