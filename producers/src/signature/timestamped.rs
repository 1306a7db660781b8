//! HMAC-SHA256 over the time of sending and the body, for channels whose own scheme is not public.
//!
//! The header [`HEADER`] is `t=<seconds since 1970>,v1=<hexadecimal HMAC>`, and what is hashed is `<t>.<body>`. The time
//! is signed, so a notice that was overheard is worth nothing once it is older than the tolerance.

use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Secret, SignatureError};

pub const HEADER: &str = "x-signature";

/// Verifies a body against its header. Our clock and the channel's may differ by the tolerance, either way.
///
/// # Errors
/// The header is not of its form, the body was not signed with this secret, or at another time.
pub fn verify(header: &str, body: &[u8], secret: &Secret, now_s: i64, tolerance_s: u32) -> Result<(), SignatureError> {
    let malformed = SignatureError::Malformed { field: HEADER };
    let (mut sent, mut claimed) = (None, None);
    for part in header.split(',') {
        let (name, value) = part.trim().split_once('=').ok_or(malformed.clone())?;
        let place = match name {
            "t" => &mut sent,
            "v1" => &mut claimed,
            // Another version, for another reader.
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(malformed);
        }
    }
    let (Some(sent), Some(claimed)) = (sent, claimed) else { return Err(malformed) };
    let is_number = !sent.is_empty() && sent.bytes().all(|byte| byte.is_ascii_digit());
    let sent_s = sent.parse::<i64>().ok().filter(|_| is_number).ok_or(malformed.clone())?;
    let claimed = HEXLOWER_PERMISSIVE.decode(claimed.as_bytes()).map_err(|_| malformed)?;
    mac(sent, body, secret).verify_slice(&claimed).map_err(|_| SignatureError::Wrong)?;

    let age_s = now_s.saturating_sub(sent_s);
    if age_s > i64::from(tolerance_s) {
        Err(SignatureError::TooOld)
    } else if age_s < -i64::from(tolerance_s) {
        Err(SignatureError::TooEarly)
    } else {
        Ok(())
    }
}

/// The header for a body that is sent now.
pub fn sign(body: &[u8], secret: &Secret, now_s: i64) -> String {
    let mac = mac(&now_s.to_string(), body, secret).finalize().into_bytes();
    format!("t={now_s},v1={}", HEXLOWER_PERMISSIVE.encode(&mac))
}

fn mac(sent: &str, body: &[u8], secret: &Secret) -> Hmac<Sha256> {
    match Hmac::new_from_slice(secret.bytes()) {
        Ok(mac) => Mac::chain_update(Mac::chain_update(mac, format!("{sent}.")), body),
        // HMAC takes keys of any length.
        Err(_) => unreachable!(),
    }
}
