use super::*;
use crate::signature::timestamped::*;

const TOLERANCE_S: u32 = 300;

struct Notice {
    header: String,
    body: String,
    sent_s: i64,
    secret: Secret,
}

impl Notice {
    fn new() -> Self {
        let vectors = vectors("timestamped");
        Self {
            header: text(&vectors, "header"),
            body: text(&vectors, "body"),
            sent_s: vectors["sent_s"].as_i64().unwrap(),
            secret: secret(&text(&vectors, "secret")),
        }
    }

    fn arrives_after(&self, seconds: i64) -> Result<(), SignatureError> {
        verify(&self.header, self.body.as_bytes(), &self.secret, self.sent_s + seconds, TOLERANCE_S)
    }
}

#[test]
fn a_notice_signed_by_python_verifies_within_the_tolerance() {
    let notice = Notice::new();
    for seconds in [-300, 0, 300] {
        assert_eq!(notice.arrives_after(seconds), Ok(()));
    }
}

#[test]
fn a_replayed_notice_is_too_old() {
    assert_eq!(Notice::new().arrives_after(301), Err(SignatureError::TooOld));
}

#[test]
fn a_notice_from_the_future_is_refused() {
    assert_eq!(Notice::new().arrives_after(-301), Err(SignatureError::TooEarly));
}

#[test]
fn a_replay_cannot_put_on_a_new_time() {
    let mut notice = Notice::new();
    notice.header = notice.header.replace(&format!("t={}", notice.sent_s), &format!("t={}", notice.sent_s + 1000));
    assert_eq!(notice.arrives_after(1000), Err(SignatureError::Wrong));
}

#[test]
fn each_tampered_byte_is_refused() {
    let notice = Notice::new();
    for at in 0..notice.body.len() {
        let mut body = notice.body.clone().into_bytes();
        body[at] ^= 1;
        let refused = verify(&notice.header, &body, &notice.secret, notice.sent_s, TOLERANCE_S);
        assert_eq!(refused, Err(SignatureError::Wrong));
    }
    let start = notice.header.find("v1=").unwrap() + 3;
    for at in start..notice.header.len() {
        let mut header = notice.header.clone().into_bytes();
        header[at] = if header[at] == b'0' { b'1' } else { b'0' };
        let header = String::from_utf8(header).unwrap();
        let refused = verify(&header, notice.body.as_bytes(), &notice.secret, notice.sent_s, TOLERANCE_S);
        assert_eq!(refused, Err(SignatureError::Wrong));
    }
}

#[test]
fn another_secret_is_refused() {
    let mut notice = Notice::new();
    notice.secret = secret("another");
    assert_eq!(notice.arrives_after(0), Err(SignatureError::Wrong));
}

#[test]
fn a_header_of_another_form_is_refused_by_name() {
    let mut notice = Notice::new();
    let (time, mac) = notice.header.split_once(',').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let broken = [
        String::new(),
        time.clone(),
        mac.clone(),
        format!("{time},{time},{mac}"),
        format!("{time},{mac},{mac}"),
        format!("t=,{mac}"),
        format!("t=+1,{mac}"),
        format!("t=99999999999999999999,{mac}"),
        format!("{time},v1=xyz"),
        format!("{time} {mac}"),
    ];
    for header in broken {
        notice.header = header.clone();
        assert_eq!(notice.arrives_after(0), Err(SignatureError::Malformed { field: HEADER }), "{header}");
    }
    notice.header = format!("{mac}, {time}, v2=later");
    assert_eq!(notice.arrives_after(0), Ok(()));
    // A piece of a MAC is none.
    notice.header = format!("{time},{}", &mac[..mac.len() - 2]);
    assert_eq!(notice.arrives_after(0), Err(SignatureError::Wrong));
}

#[test]
fn ours_is_python_s_header_byte_for_byte() {
    let notice = Notice::new();
    assert_eq!(sign(notice.body.as_bytes(), &notice.secret, notice.sent_s), notice.header);
}
