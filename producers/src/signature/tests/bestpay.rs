use super::*;
use crate::signature::{Charset, bestpay::*};

const SIGNED: [&str; 7] = ["UPTRANSEQ", "ORDERSEQ", "ORDERAMOUNT", "RETNCODE", "RETNINFO", "TRANDATE", "SIGN"];

fn merchant(wording: Wording) -> Merchant {
    let vectors = vectors("bestpay");
    Merchant { id: text(&vectors, "merchant"), key: secret(&text(&vectors, "key")), wording }
}

/// The fields that the MAC covers; the others prove nothing.
fn signed(notice: &Form) -> Form {
    let mut copy = Form::new();
    for name in SIGNED {
        copy.push(name, notice.get(name).unwrap());
    }
    copy
}

#[test]
fn a_notice_of_either_gateway_verifies() {
    let vectors = vectors("bestpay");
    let (web, mobile) = (form(&vectors, "web"), form(&vectors, "mobile"));
    assert_eq!(merchant(Wording::Web).verify(&web), Ok(()));
    assert_eq!(merchant(Wording::Mobile).verify(&mobile), Ok(()));
    assert_eq!(merchant(Wording::Mobile).verify(&web), Err(SignatureError::Wrong));
    assert_eq!(merchant(Wording::Web).verify(&mobile), Err(SignatureError::Wrong));
}

#[test]
fn a_gbk_notice_verifies_over_its_bytes_and_is_decoded_afterwards() {
    let notice = form(&vectors("bestpay"), "web");
    assert_eq!(merchant(Wording::Web).verify(&notice), Ok(()));
    assert_eq!(notice.text("RETNINFO", Charset::Gbk).unwrap(), "支付成功");
}

#[test]
fn each_tampered_byte_of_what_is_signed_is_refused() {
    let notice = signed(&form(&vectors("bestpay"), "web"));
    refuses_each_tampered_byte(&notice, |notice| merchant(Wording::Web).verify(notice));
}

#[test]
fn a_notice_of_another_key_or_for_another_merchant_is_refused() {
    let notice = form(&vectors("bestpay"), "web");
    let stranger = Merchant { key: secret("another"), ..merchant(Wording::Web) };
    assert_eq!(stranger.verify(&notice), Err(SignatureError::Wrong));
    let stranger = Merchant { id: "0250000002".to_owned(), ..merchant(Wording::Web) };
    assert_eq!(stranger.verify(&notice), Err(SignatureError::Wrong));
}

#[test]
fn a_notice_without_a_signed_field_is_refused() {
    let notice = form(&vectors("bestpay"), "web");
    for field in SIGNED {
        let refused = merchant(Wording::Web).verify(&without(&notice, field)).unwrap_err();
        let expected = if field == "RETNINFO" { SignatureError::Wrong } else { SignatureError::Missing { field } };
        assert_eq!(refused, expected);
    }
}

#[test]
fn ours_is_python_s_mac_byte_for_byte() {
    let vectors = vectors("bestpay");
    for (name, wording) in [("web", Wording::Web), ("mobile", Wording::Mobile)] {
        let theirs = form(&vectors, name);
        let mut ours = without(&theirs, "SIGN");
        merchant(wording).sign(&mut ours).unwrap();
        assert_eq!(ours, theirs);
    }
}
