//! Alipay's RSA2: SHA-256 with RSA over the fields in the order of their names, or over the answer as it is spelt.

use super::{Form, PrivateKey, PublicKey, SignatureError, agreed, base64, json, required};

const SIGN: &str = "sign";
const SIGN_TYPE: &str = "sign_type";
const RSA2: &str = "RSA2";

/// Verifies a notice: `sign_type` is not signed, so it may name nothing but RSA2.
///
/// # Errors
/// It is not signed, or not by this key.
pub fn verify_notice(notice: &Form, key: &PublicKey) -> Result<(), SignatureError> {
    agreed(notice, SIGN_TYPE, RSA2)?;
    let outside = [SIGN, SIGN_TYPE];
    let signature = base64(required(notice, SIGN)?, SIGN)?;
    let verified = key.verify(&notice.joined(&outside), &signature);
    // Alipay's libraries disagree on whether empty values are signed; either way it is Alipay that signed them.
    match notice.joined_with_empty(&outside) {
        Some(whole) => verified.or_else(|_| key.verify(&whole, &signature)),
        None => verified,
    }
}

/// Signs a notice as Alipay does.
///
/// # Errors
/// None that a message could cause.
pub fn sign_notice(notice: &mut Form, key: &PrivateKey) -> Result<(), SignatureError> {
    let signature = key.sign(&notice.joined(&[SIGN, SIGN_TYPE]))?;
    notice.push(SIGN_TYPE, RSA2).push(SIGN, signature);
    Ok(())
}

/// Signs a call of the gateway, in which `sign_type` is signed as well.
///
/// # Errors
/// None that a message could cause.
pub fn sign_request(request: &mut Form, key: &PrivateKey) -> Result<(), SignatureError> {
    request.push(SIGN_TYPE, RSA2);
    let signature = key.sign(&request.joined(&[SIGN]))?;
    request.push(SIGN, signature);
    Ok(())
}

/// Verifies a call as the gateway does.
///
/// # Errors
/// It is not signed, or not by this key.
pub fn verify_request(request: &Form, key: &PublicKey) -> Result<(), SignatureError> {
    agreed(request, SIGN_TYPE, RSA2)?;
    let signature = base64(required(request, SIGN)?, SIGN)?;
    key.verify(&request.joined(&[SIGN]), &signature)
}

/// Verifies the gateway's answer to a call of `method`, and gives the part of it that is signed, as it is spelt. That is
/// the only part to read: what stands beside it, anybody may have written.
///
/// # Errors
/// It is no such answer, not signed (as some of the gateway's own errors are not), or not by this key.
pub fn verify_response<'t>(body: &'t str, method: &str, key: &PublicKey) -> Result<&'t str, SignatureError> {
    let (node, mut nodes, mut signature) = (node(method), Vec::new(), None);
    for (name, value) in json::members(body)? {
        if name == node || name == ERROR {
            nodes.push(value.get());
        } else if name == SIGN {
            signature = Some(value.get());
        }
    }
    let [signed] = nodes[..] else { return Err(SignatureError::Malformed { field: "response" }) };
    let signature = signature.ok_or(SignatureError::Missing { field: SIGN })?;
    let signature: String = serde_json::from_str(signature).map_err(|_| SignatureError::Malformed { field: SIGN })?;
    key.verify(signed.as_bytes(), &base64(signature.as_bytes(), SIGN)?)?;
    Ok(signed)
}

/// The answer to a call of `method`, from the part that is signed, which has to be JSON.
///
/// # Errors
/// None that a message could cause.
pub fn sign_response(method: &str, signed: &str, key: &PrivateKey) -> Result<String, SignatureError> {
    let signature = key.sign(signed.as_bytes())?;
    Ok(format!(r#"{{"{}":{signed},"{SIGN}":"{signature}"}}"#, node(method)))
}

/// What the gateway calls its answer where it refuses the call itself.
const ERROR: &str = "error_response";

fn node(method: &str) -> String {
    format!("{}_response", method.replace('.', "_"))
}
