use super::*;
use crate::signature::{Charset, FormError, alipay::*};

const METHOD: &str = "alipay.trade.refund";

#[test]
fn a_notice_signed_by_openssl_verifies() {
    let notice = form(&vectors("alipay"), "notice");
    assert_eq!(verify_notice(&notice, &channel()), Ok(()));
    assert_eq!(notice.text("subject", Charset::Utf8).unwrap(), "学费 & 住宿费 +100%=全额");
}

#[test]
fn a_gbk_notice_verifies_over_its_bytes_and_is_decoded_afterwards() {
    let notice = form(&vectors("alipay"), "notice_gbk");
    assert_eq!(verify_notice(&notice, &channel()), Ok(()));
    let charset = Charset::named(notice.get("charset").unwrap()).unwrap();
    assert_eq!(notice.text("subject", charset).unwrap(), "学费 & 住宿费 +100%=全额");
    let as_utf8 = notice.text("subject", Charset::Utf8);
    assert_eq!(as_utf8, Err(FormError::Undecodable { field: "subject", charset: Charset::Utf8 }));
}

#[test]
fn a_notice_in_another_charset_than_it_was_signed_in_is_refused() {
    let mut notice = form(&vectors("alipay"), "notice_gbk");
    let subject = notice.text("subject", Charset::Gbk).unwrap();
    notice.push("subject", subject);
    assert_eq!(verify_notice(&notice, &channel()), Err(SignatureError::Wrong));
}

#[test]
fn empty_fields_may_be_signed_or_not() {
    let notice = form(&vectors("alipay"), "notice_with_empty_fields_signed");
    assert_eq!(notice.get("body"), Some(&b""[..]));
    assert_eq!(verify_notice(&notice, &channel()), Ok(()));
    assert_eq!(verify_notice(&without(&notice, "body"), &channel()), Err(SignatureError::Wrong));
    // An empty field that somebody added says nothing.
    let mut notice = form(&vectors("alipay"), "notice");
    notice.push("refund_fee", "");
    assert_eq!(verify_notice(&notice, &channel()), Ok(()));
    assert_eq!(notice.text("refund_fee", Charset::Utf8), Err(FormError::Missing { field: "refund_fee" }));
}

#[test]
fn each_tampered_byte_of_a_notice_is_refused() {
    let notice = form(&vectors("alipay"), "notice");
    refuses_each_tampered_byte(&notice, |notice| verify_notice(notice, &channel()));
}

#[test]
fn a_field_more_or_less_is_refused() {
    let notice = form(&vectors("alipay"), "notice");
    assert_eq!(verify_notice(&without(&notice, "total_amount"), &channel()), Err(SignatureError::Wrong));
    let mut more = notice.clone();
    more.push("refund_fee", "0.80");
    assert_eq!(verify_notice(&more, &channel()), Err(SignatureError::Wrong));
}

#[test]
fn a_notice_of_another_key_is_refused() {
    let notice = form(&vectors("alipay"), "notice_of_another_key");
    assert_eq!(verify_notice(&notice, &channel()), Err(SignatureError::Wrong));
    assert_eq!(verify_notice(&notice, &other()), Ok(()));
}

#[test]
fn a_notice_without_signature_is_refused() {
    let notice = form(&vectors("alipay"), "notice");
    for field in ["sign", "sign_type"] {
        let missing = Err(SignatureError::Missing { field });
        assert_eq!(verify_notice(&without(&notice, field), &channel()), missing);
        let mut empty = notice.clone();
        assert_eq!(verify_notice(empty.push(field, ""), &channel()), missing);
    }
}

#[test]
fn a_weaker_scheme_cannot_be_asked_for() {
    let mut notice = form(&vectors("alipay"), "notice");
    notice.push("sign_type", "RSA");
    assert_eq!(verify_notice(&notice, &channel()), Err(SignatureError::Unsupported { field: "sign_type" }));
}

#[test]
fn a_signature_that_is_no_base64_is_refused() {
    let mut notice = form(&vectors("alipay"), "notice");
    let sign = notice.text("sign", Charset::Utf8).unwrap();
    // A form that did not escape its plus signs.
    notice.push("sign", sign.replace('+', " "));
    assert_eq!(verify_notice(&notice, &channel()), Err(SignatureError::Malformed { field: "sign" }));
}

#[test]
fn ours_is_openssl_s_signature_byte_for_byte() {
    let vectors = vectors("alipay");
    for name in ["notice", "notice_gbk"] {
        let theirs = form(&vectors, name);
        let mut ours = without(&without(&theirs, "sign"), "sign_type");
        sign_notice(&mut ours, &channel_signs()).unwrap();
        assert_eq!(ours, theirs);
    }
    let theirs = form(&vectors, "request");
    let mut ours = without(&without(&theirs, "sign"), "sign_type");
    sign_request(&mut ours, &channel_signs()).unwrap();
    assert_eq!(ours, theirs);
    let ours = sign_response(METHOD, &text(&vectors, "response_node"), &channel_signs()).unwrap();
    assert_eq!(ours, text(&vectors, "response"));
}

#[test]
fn each_tampered_byte_of_a_request_is_refused_its_sign_type_included() {
    let request = form(&vectors("alipay"), "request");
    refuses_each_tampered_byte(&request, |request| verify_request(request, &channel()));
    assert_eq!(verify_request(&request, &other()), Err(SignatureError::Wrong));
}

#[test]
fn an_answer_verifies_as_it_is_spelt() {
    let vectors = vectors("alipay");
    let body = text(&vectors, "response");
    assert_eq!(verify_response(&body, METHOD, &channel()), Ok(text(&vectors, "response_node").as_str()));
    // The same JSON, spelt otherwise.
    let respelt = body.replace("\\/", "/");
    assert_eq!(verify_response(&respelt, METHOD, &channel()), Err(SignatureError::Wrong));
    assert_eq!(verify_response(&body, METHOD, &other()), Err(SignatureError::Wrong));
    let tampered = body.replace(r#""refund_fee":"0.80""#, r#""refund_fee":"9.80""#);
    assert_eq!(verify_response(&tampered, METHOD, &channel()), Err(SignatureError::Wrong));
}

#[test]
fn an_answer_to_another_call_is_none() {
    let body = text(&vectors("alipay"), "response");
    let refused = Err(SignatureError::Malformed { field: "response" });
    assert_eq!(verify_response(&body, "alipay.trade.pay", &channel()), refused);
}

#[test]
fn an_error_of_the_gateway_verifies() {
    let body = text(&vectors("alipay"), "response_error");
    assert!(verify_response(&body, METHOD, &channel()).unwrap().contains("isv.invalid-app-id"));
}

#[test]
fn an_answer_that_says_two_things_is_refused() {
    let body = text(&vectors("alipay"), "response");
    let second = body.replacen('{', r#"{"alipay_trade_refund_response":{"code":"40004"},"#, 1);
    assert_eq!(verify_response(&second, METHOD, &channel()), Err(FormError::Repeated.into()));
    let error = body.replacen('{', r#"{"error_response":{"code":"40004"},"#, 1);
    assert_eq!(verify_response(&error, METHOD, &channel()), Err(SignatureError::Malformed { field: "response" }));
}

#[test]
fn an_answer_without_signature_is_refused() {
    let node = text(&vectors("alipay"), "response_node");
    let body = format!(r#"{{"alipay_trade_refund_response":{node}}}"#);
    assert_eq!(verify_response(&body, METHOD, &channel()), Err(SignatureError::Missing { field: "sign" }));
    let body = format!(r#"{{"alipay_trade_refund_response":{node},"sign":17}}"#);
    assert_eq!(verify_response(&body, METHOD, &channel()), Err(SignatureError::Malformed { field: "sign" }));
    for body in ["", "<html>", "[]", "\"alipay_trade_refund_response\""] {
        assert_eq!(verify_response(body, METHOD, &channel()), Err(FormError::Json.into()));
    }
}
