//! Against what openssl and Python made (`vectors/make.py`), never against ourselves alone.

mod alipay;
mod bestpay;
mod chinaums;
mod form;
mod keys;
mod timestamped;
mod unionpay;

use serde_json::Value;

use super::{Form, PrivateKey, PublicKey, Secret, SignatureError};

fn vectors(scheme: &str) -> Value {
    let vectors: Value = serde_json::from_str(include_str!("vectors/vectors.json")).unwrap();
    vectors[scheme].clone()
}

fn text(vectors: &Value, name: &str) -> String {
    vectors[name].as_str().unwrap().to_owned()
}

fn form(vectors: &Value, name: &str) -> Form {
    Form::parse(text(vectors, name).as_bytes()).unwrap()
}

fn channel() -> PublicKey {
    PublicKey::read(include_str!("vectors/keys/channel.public.pem")).unwrap()
}

fn other() -> PublicKey {
    PublicKey::read(include_str!("vectors/keys/other.public.pem")).unwrap()
}

fn channel_signs() -> PrivateKey {
    PrivateKey::read(include_str!("vectors/keys/channel.pkcs8.pem")).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

/// The form without a field.
fn without(form: &Form, left_out: &str) -> Form {
    let mut copy = Form::new();
    for (name, value) in form.iter().filter(|(name, _)| *name != left_out.as_bytes()) {
        copy.push(str::from_utf8(name).unwrap(), value);
    }
    copy
}

/// Changes every byte of every field, one after the other, and asks that each change be noticed.
fn refuses_each_tampered_byte(good: &Form, check: impl Fn(&Form) -> Result<(), SignatureError>) {
    assert_eq!(check(good), Ok(()));
    for (name, value) in good.iter() {
        for at in 0..value.len() {
            let mut tampered = value.to_vec();
            tampered[at] ^= 1;
            let mut copy = good.clone();
            copy.push(str::from_utf8(name).unwrap(), tampered);
            let refused = check(&copy).unwrap_err();
            let is_named = matches!(
                refused,
                SignatureError::Wrong
                    | SignatureError::Malformed { .. }
                    | SignatureError::Unsupported { .. }
                    | SignatureError::UnknownKey
            );
            assert!(is_named, "{}[{at}]: {refused}", String::from_utf8_lossy(name));
        }
    }
}
