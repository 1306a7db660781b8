use super::*;
use crate::signature::{Charset, FormError, chinaums::*};

fn key() -> Secret {
    secret(&text(&vectors("chinaums"), "key"))
}

#[test]
fn a_notice_verifies_as_a_form_and_as_json() {
    let vectors = vectors("chinaums");
    assert_eq!(verify(&form(&vectors, "form"), &key()), Ok(()));
    for name in ["json", "json_in_utf8"] {
        let notice = Form::from_json(text(&vectors, name).as_bytes()).unwrap();
        assert_eq!(verify(&notice, &key()), Ok(()));
        assert_eq!(notice.text("totalAmount", Charset::Utf8).unwrap(), "136");
        assert_eq!(notice.text("billFunds", Charset::Utf8).unwrap(), "现金:136");
    }
}

#[test]
fn each_tampered_byte_is_refused() {
    refuses_each_tampered_byte(&form(&vectors("chinaums"), "form"), |notice| verify(notice, &key()));
}

#[test]
fn a_notice_of_another_key_is_refused() {
    let notice = form(&vectors("chinaums"), "form");
    assert_eq!(verify(&notice, &secret("another")), Err(SignatureError::Wrong));
}

#[test]
fn a_notice_in_another_charset_than_it_was_signed_in_is_refused() {
    let mut notice = form(&vectors("chinaums"), "form");
    let funds = Charset::Gbk.encode(&notice.text("billFunds", Charset::Utf8).unwrap()).unwrap();
    notice.push("billFunds", funds);
    assert_eq!(verify(&notice, &key()), Err(SignatureError::Wrong));
}

#[test]
fn a_notice_without_signature_is_refused() {
    let notice = form(&vectors("chinaums"), "form");
    for field in ["sign", "signType"] {
        assert_eq!(verify(&without(&notice, field), &key()), Err(SignatureError::Missing { field }));
    }
    let mut short = notice.clone();
    assert_eq!(verify(short.push("sign", "AB12"), &key()), Err(SignatureError::Malformed { field: "sign" }));
}

#[test]
fn md5_cannot_be_asked_for() {
    let mut notice = form(&vectors("chinaums"), "form");
    notice.push("signType", "MD5");
    assert_eq!(verify(&notice, &key()), Err(SignatureError::Unsupported { field: "signType" }));
}

#[test]
fn a_nested_notice_is_refused_by_name() {
    let body = br#"{"status":"TRADE_SUCCESS","billPayment":{"status":"TRADE_SUCCESS"}}"#;
    assert_eq!(Form::from_json(body), Err(FormError::Nested));
}

#[test]
fn ours_is_python_s_signature_byte_for_byte() {
    let theirs = form(&vectors("chinaums"), "form");
    let mut ours = without(&without(&theirs, "sign"), "signType");
    sign(&mut ours, &key());
    assert_eq!(ours, theirs);
}
