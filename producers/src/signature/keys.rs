//! Keys, in the spellings in which channels hand them out.

use std::{fmt, fs, path::Path, sync::Arc};

use data_encoding::BASE64;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls_pki_types::{
    CertificateDer, SubjectPublicKeyInfoDer,
    pem::{PemObject, SectionKind},
};
use webpki::{EndEntityCert, Error, RawPublicKeyEntity, ring::RSA_PKCS1_2048_8192_SHA256};

use super::SignatureError;

/// A key of 1024 bits makes 162 bytes with its wrapping, one of 2048 bits and the smallest exponent 292.
const PUBLIC_KEY_BYTES_MIN: usize = 292;

/// Never with the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("it is neither PEM with a key or a certificate nor the bare Base64 of a key")]
    Unreadable,
    #[error("it is not an RSA key of 2048 bits or more")]
    Unusable,
    #[error("it is empty")]
    Empty,
}

/// What a channel's signatures are verified with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: SubjectPublicKeyInfoDer<'static>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}

impl PublicKey {
    /// From PEM `PUBLIC KEY` or `CERTIFICATE`, or from the Base64 of the former without its two lines. Whether a
    /// certificate has expired, and who signed it, is not asked: whoever configures it vouches for it.
    ///
    /// # Errors
    /// It is none of these, or not an RSA key of 2048 bits or more.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        match read(text)? {
            (Some(SectionKind::Certificate), der) => Certificate::of(der).map(|certificate| certificate.key),
            (None | Some(SectionKind::PublicKey), spki) => Self::of(SubjectPublicKeyInfoDer::from(spki)),
            _ => Err(KeyError::Unreadable),
        }
    }

    fn of(spki: SubjectPublicKeyInfoDer<'static>) -> Result<Self, KeyError> {
        let key = Self { spki };
        // A signature that cannot be right tells whether the key could have made one that is.
        let is_rsa = matches!(key.check(b"", b""), Err(Error::InvalidSignatureForPublicKey));
        if is_rsa && key.spki.len() >= PUBLIC_KEY_BYTES_MIN { Ok(key) } else { Err(KeyError::Unusable) }
    }

    fn check(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let key = RawPublicKeyEntity::try_from(&self.spki)?;
        key.verify_signature(RSA_PKCS1_2048_8192_SHA256, message, signature)
    }

    /// RSA with SHA-256 and the padding of PKCS #1 v1.5 (RSA2, SHA256withRSA).
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.check(message, signature).map_err(|_| SignatureError::Wrong)
    }
}

/// A certificate's key, and the number under which its owner names it.
pub(super) struct Certificate {
    pub serial: String,
    pub key: PublicKey,
}

impl Certificate {
    pub fn read(text: &str) -> Result<Self, KeyError> {
        match read(text)? {
            (Some(SectionKind::Certificate), der) => Self::of(der),
            _ => Err(KeyError::Unreadable),
        }
    }

    fn of(der: Vec<u8>) -> Result<Self, KeyError> {
        let der = CertificateDer::from(der);
        let certificate = EndEntityCert::try_from(&der).map_err(|_| KeyError::Unreadable)?;
        let key = PublicKey::of(certificate.subject_public_key_info())?;
        Ok(Self { serial: decimal(certificate.serial()), key })
    }
}

/// What we sign with.
#[derive(Clone)]
pub struct PrivateKey(Arc<RsaKeyPair>);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(secret)")
    }
}

impl PrivateKey {
    /// From PEM `PRIVATE KEY` (PKCS #8) or `RSA PRIVATE KEY` (PKCS #1), or from the Base64 of either without its two
    /// lines. It must not be encrypted.
    ///
    /// # Errors
    /// It is none of these, or not an RSA key of 2048 bits or more.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        let key = match read(text)? {
            (Some(SectionKind::PrivateKey), der) => RsaKeyPair::from_pkcs8(&der),
            (Some(SectionKind::RsaPrivateKey), der) => RsaKeyPair::from_der(&der),
            // Without the lines, nothing says which of the two it is.
            (None, der) => RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der)),
            _ => return Err(KeyError::Unreadable),
        };
        key.map(|key| Self(Arc::new(key))).map_err(|_| KeyError::Unusable)
    }

    /// As Base64.
    pub(super) fn sign(&self, message: &[u8]) -> Result<String, SignatureError> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        let signed = self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map(|()| BASE64.encode(&signature)).map_err(|_| SignatureError::NotSigned)
    }
}

/// A word that a channel and we know, and nobody else.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(secret)")
    }
}

impl Secret {
    /// # Errors
    /// It is empty: anybody knows that one.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() { Err(KeyError::Empty) } else { Ok(Self(text.as_bytes().to_vec())) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A key as it was given, or from the file that was given.
pub fn key_text(setting: &str) -> String {
    let file = Some(Path::new(setting)).filter(|path| path.is_file());
    file.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_else(|| setting.to_owned())
}

/// The first section of a PEM file with its kind, or bare Base64, which does not say what it is.
fn read(text: &str) -> Result<(Option<SectionKind>, Vec<u8>), KeyError> {
    if text.contains("-----BEGIN") {
        let section = <(SectionKind, Vec<u8>)>::from_pem_slice(text.as_bytes());
        return section.map(|(kind, der)| (Some(kind), der)).map_err(|_| KeyError::Unreadable);
    }
    let bare: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = BASE64.decode(&bare).ok().filter(|der| !der.is_empty()).ok_or(KeyError::Unreadable)?;
    Ok((None, der))
}

/// A number of any length, from its bytes.
fn decimal(bytes: &[u8]) -> String {
    // Least digit first; each byte multiplies what is there by 256 and adds itself.
    let mut digits = vec![0_u8];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let sum = u32::from(*digit) * 256 + carry;
            (*digit, carry) = ((sum % 10) as u8, sum / 10);
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}
