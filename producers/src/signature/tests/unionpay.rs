use super::*;
use crate::signature::{Charset, FormError, unionpay::*};

const CERTIFICATE: &str = include_str!("../vectors/keys/channel.certificate.pem");

fn keys() -> Keys {
    Keys::new().and_certificate(CERTIFICATE).unwrap()
}

#[test]
fn a_notice_signed_by_openssl_verifies_by_the_number_of_its_certificate() {
    let notice = form(&vectors("unionpay"), "notice");
    assert_eq!(verify(&notice, &keys()), Ok(()));
    assert_eq!(notice.text("respMsg", Charset::Utf8).unwrap(), "成功[0000000]");
}

#[test]
fn a_gbk_notice_verifies_over_its_bytes_and_is_text_in_no_other_character_set() {
    let notice = form(&vectors("unionpay"), "notice_gbk");
    assert_eq!(verify(&notice, &keys()), Ok(()));
    assert_eq!(notice.text("respMsg", Charset::Gbk).unwrap(), "成功[0000000]");
    let (field, charset) = ("respMsg", Charset::Utf8);
    assert_eq!(notice.text(field, charset), Err(FormError::Undecodable { field, charset }));
}

#[test]
fn a_notice_that_is_written_anew_in_another_character_set_is_refused() {
    let mut notice = form(&vectors("unionpay"), "notice_gbk");
    let message = notice.text("respMsg", Charset::Gbk).unwrap();
    notice.push("respMsg", message);
    assert_eq!(verify(&notice, &keys()), Err(SignatureError::Wrong));
}

#[test]
fn a_notice_that_carries_its_certificate_verifies_by_the_key_that_we_know() {
    let notice = form(&vectors("unionpay"), "notice_with_certificate");
    assert_eq!(verify(&notice, &keys()), Ok(()));
    assert_eq!(verify(&notice, &Keys::new()), Err(SignatureError::UnknownKey));
}

#[test]
fn a_forger_s_certificate_with_the_number_of_a_known_one_does_not_count() {
    // Both certificates have the same number.
    let mut notice = form(&vectors("unionpay"), "notice_with_certificate");
    notice.push("signPubKeyCert", include_str!("../vectors/keys/other.certificate.pem"));
    let forger = PrivateKey::read(include_str!("../vectors/keys/other.pkcs8.pem")).unwrap();
    sign(&mut notice, &forger).unwrap();
    assert_eq!(verify(&notice, &keys()), Err(SignatureError::Wrong));
}

#[test]
fn each_tampered_byte_is_refused() {
    for name in ["notice", "notice_gbk", "notice_with_certificate"] {
        refuses_each_tampered_byte(&form(&vectors("unionpay"), name), |notice| verify(notice, &keys()));
    }
}

#[test]
fn a_notice_of_another_key_is_refused() {
    let notice = form(&vectors("unionpay"), "notice_of_another_key");
    assert_eq!(verify(&notice, &keys()), Err(SignatureError::Wrong));
    let notice = form(&vectors("unionpay"), "notice_of_unknown_certificate");
    assert_eq!(verify(&notice, &keys()), Err(SignatureError::UnknownKey));
}

#[test]
fn a_notice_without_signature_or_certificate_is_refused() {
    let notice = form(&vectors("unionpay"), "notice");
    for field in ["signature", "signMethod", "certId"] {
        assert_eq!(verify(&without(&notice, field), &keys()), Err(SignatureError::Missing { field }));
    }
    let mut notice = without(&notice, "certId");
    notice.push("signPubKeyCert", "no certificate");
    assert_eq!(verify(&notice, &keys()), Err(SignatureError::Malformed { field: "signPubKeyCert" }));
}

#[test]
fn another_method_cannot_be_asked_for() {
    let mut notice = form(&vectors("unionpay"), "notice");
    notice.push("signMethod", "11");
    assert_eq!(verify(&notice, &keys()), Err(SignatureError::Unsupported { field: "signMethod" }));
}

#[test]
fn ours_is_openssl_s_signature_byte_for_byte() {
    let theirs = form(&vectors("unionpay"), "notice");
    let mut ours = without(&without(&theirs, "signature"), "signMethod");
    sign(&mut ours, &channel_signs()).unwrap();
    assert_eq!(ours, theirs);
    let mut nameless = without(&theirs, "certId");
    assert_eq!(sign(&mut nameless, &channel_signs()), Err(SignatureError::Missing { field: "certId" }));
}
