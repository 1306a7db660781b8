use super::*;
use crate::signature::{Charset, FormError};

fn fields(form: &Form) -> Vec<(&str, &str)> {
    let text = |bytes| str::from_utf8(bytes).unwrap();
    form.iter().map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn fields_stand_in_the_order_of_their_names() {
    let form = Form::parse(b"b=2&a=1+%2B+1&C=&&d").unwrap();
    assert_eq!(fields(&form), [("C", ""), ("a", "1 + 1"), ("b", "2"), ("d", "")]);
    assert_eq!(form.joined(&["b"]), b"a=1 + 1");
    assert_eq!(form.joined_with_empty(&["b", "d"]).unwrap(), b"C=&a=1 + 1");
    assert_eq!(form.joined_with_empty(&["C", "d"]), None);
}

#[test]
fn what_is_sent_reads_back_as_it_was() {
    let mut form = Form::new();
    form.push("名称", "学费 & 1+1=2 100%\r\n")
        .push("gbk", Charset::Gbk.encode("学费").unwrap())
        .push("plain", "a-b_c.d*e");
    let body = form.encode();
    assert!(body.is_ascii() && !body.contains(' '));
    assert_eq!(Form::parse(body.as_bytes()).unwrap(), form);
}

#[test]
fn a_name_that_stands_there_twice_is_refused() {
    assert_eq!(Form::parse(b"a=1&b=2&a=1"), Err(FormError::Repeated));
    assert_eq!(Form::parse(b"total=1&t%6ftal=2"), Err(FormError::Repeated));
    assert_eq!(Form::from_json(br#"{"a":1,"\u0061":2}"#), Err(FormError::Repeated));
}

#[test]
fn a_nul_byte_is_refused() {
    for body in [&b"a=1%00"[..], b"a%00=1", b"a=\0"] {
        assert_eq!(Form::parse(body), Err(FormError::Nul));
    }
    assert_eq!(Form::from_json(br#"{"a":"\u0000"}"#), Err(FormError::Nul));
}

#[test]
fn an_escape_that_is_none_is_refused() {
    for body in [&b"a=%"[..], b"a=1%2", b"a=%zz", b"%=1", b"a=%%41", b"a=%+1"] {
        assert_eq!(Form::parse(body), Err(FormError::Escape), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_field_without_a_name_is_refused() {
    assert_eq!(Form::parse(b"=1"), Err(FormError::Nameless));
}

#[test]
fn json_becomes_fields_as_it_is_spelt() {
    let form = Form::from_json(r#" {"a":1.50,"b":true,"c":null,"d":"学\u8d39\/"} "#.as_bytes()).unwrap();
    assert_eq!(fields(&form), [("a", "1.50"), ("b", "true"), ("c", ""), ("d", "学费/")]);
    for body in [&b"[1]"[..], b"", b"{", b"{} x", b"\xff", br#"{"a":"\ud800"}"#] {
        assert_eq!(Form::from_json(body), Err(FormError::Json));
    }
    assert_eq!(Form::from_json(br#"{"a":[1]}"#), Err(FormError::Nested));
}

#[test]
fn rare_names_are_read_and_nothing_is_guessed() {
    // 𠮷 takes four bytes, which only GB18030 has.
    assert_eq!(Charset::Gbk.decode(&[0x95, 0x34, 0xb2, 0x35]).as_deref(), Some("𠮷"));
    assert_eq!(Charset::Gbk.encode("𠮷"), None);
    assert_eq!(Charset::Gbk.decode(&[0xd1]), None);
    assert_eq!(Charset::Gbk.decode(&[0xd1, 0x20]), None);
    assert_eq!(Charset::Utf8.decode(&[0xd1, 0xa7]), Some("ѧ".to_owned()));
    // Somebody had already replaced what he could not read.
    assert_eq!(Charset::Utf8.decode("\u{fffd}".as_bytes()), None);
    assert_eq!(Charset::Gbk.decode(&[0x84, 0x31, 0xa4, 0x37]), None);
}

#[test]
fn charsets_are_found_by_the_names_that_channels_give_them() {
    for (name, charset) in
        [("UTF-8", Charset::Utf8), ("utf8", Charset::Utf8), ("GBK", Charset::Gbk), ("gb2312", Charset::Gbk)]
    {
        assert_eq!(Charset::named(name.as_bytes()), Some(charset));
    }
    assert_eq!(Charset::named(b"latin1"), None);
}

#[test]
fn a_log_shows_names_and_no_values() {
    let form = Form::parse(b"payer=somebody").unwrap();
    assert_eq!(format!("{form:?}"), r#"{"payer"}"#);
}
