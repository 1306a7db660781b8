use super::*;
use crate::signature::{KeyError, keys::Certificate};

const PUBLIC: &str = include_str!("../vectors/keys/channel.public.pem");
const CERTIFICATE: &str = include_str!("../vectors/keys/channel.certificate.pem");
const PKCS8: &str = include_str!("../vectors/keys/channel.pkcs8.pem");
const PKCS1: &str = include_str!("../vectors/keys/channel.pkcs1.pem");

/// Without the two lines around it.
fn bare(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

#[test]
fn a_public_key_is_read_from_every_spelling() {
    for spelling in [CERTIFICATE, &bare(PUBLIC), &PUBLIC.replace('\n', "\r\n"), &format!("\n {}\n", bare(PUBLIC))] {
        assert_eq!(PublicKey::read(spelling).unwrap(), channel());
    }
}

#[test]
fn a_private_key_is_read_from_every_spelling() {
    let signature = channel_signs().sign(b"message").unwrap();
    for spelling in [PKCS1, &bare(PKCS8), &bare(PKCS1), &PKCS1.replace('\n', "\r\n")] {
        assert_eq!(PrivateKey::read(spelling).unwrap().sign(b"message").unwrap(), signature);
    }
}

#[test]
fn a_certificate_is_known_by_its_decimal_number() {
    assert_eq!(Certificate::read(CERTIFICATE).unwrap().serial, "69026276696");
    assert!(matches!(Certificate::read(PUBLIC), Err(KeyError::Unreadable)));
}

#[test]
fn a_key_that_is_too_short_or_no_rsa_key_is_refused() {
    for pem in [
        include_str!("../vectors/keys/short.public.pem"),
        include_str!("../vectors/keys/elliptic.public.pem"),
        &bare(PKCS8),
        "AAAA",
    ] {
        assert_eq!(PublicKey::read(pem), Err(KeyError::Unusable));
    }
}

#[test]
fn what_is_no_key_is_refused() {
    for text in ["", "  \n", "no key!", PKCS8, "-----BEGIN PUBLIC KEY-----\nAAAA"] {
        assert_eq!(PublicKey::read(text), Err(KeyError::Unreadable), "{text}");
    }
    for text in ["", "no key!", PUBLIC, CERTIFICATE] {
        assert!(matches!(PrivateKey::read(text), Err(KeyError::Unreadable)), "{text}");
    }
    assert!(matches!(PrivateKey::read(&bare(PUBLIC)), Err(KeyError::Unusable)));
    assert!(matches!(Secret::new(""), Err(KeyError::Empty)));
}

#[test]
fn keys_do_not_show_themselves() {
    assert_eq!(format!("{:?}", channel_signs()), "PrivateKey(secret)");
    assert_eq!(format!("{:?}", secret("a secret")), "Secret(secret)");
    assert_eq!(format!("{:?}", channel()), "PublicKey");
}
