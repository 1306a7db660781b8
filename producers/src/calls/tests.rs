#![allow(clippy::unwrap_used)]

use std::{fs, io, net::SocketAddr, sync::Arc};

use axum::{Router, http::StatusCode, routing::any, serve::Listener};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
    server::TlsStream,
};

use super::*;

mod documents;

fn bank(reply: serde_json::Value) -> BankAnswer {
    serde_json::from_value::<BankReply>(reply).unwrap().into()
}

fn party() -> Name {
    "ums-pos".parse().unwrap()
}

fn refund(reply: serde_json::Value) -> RefundReply {
    serde_json::from_value(reply).unwrap()
}

fn sent() -> RefundOrder {
    RefundOrder {
        refund_request_no: "R1".to_owned(),
        channel: party(),
        channel_txn_no: "t1".to_owned(),
        order_no: format!("L{}", "A".repeat(29)).parse().unwrap(),
        amount: "800.00".parse().unwrap(),
    }
}

#[test]
fn a_question_is_written_as_the_bank_reads_it() {
    let order_no = format!("L{}", "A".repeat(29)).parse().unwrap();
    let question = RepaymentQuestion { order_no, channel_txn_no: "t1".to_owned(), amount: "800.00".parse().unwrap() };
    let wire = json!({"order_no": format!("L{}", "A".repeat(29)), "channel_txn_no": "t1", "amount": "800.00"});
    assert_eq!(serde_json::to_value(&question).unwrap(), wire);
}

#[test]
fn every_answer_of_the_bank_is_read() {
    let booked = bank(json!({"result": "booked", "code": "00", "message": "ok", "bank_ref": "B1",
        "booked_date": "2025-03-10", "principal": "790.00", "interest": "10.00"}));
    let BankAnswer::Booked { amount, bank_ref, booked_date, principal, interest } = booked else {
        panic!("{booked:?}")
    };
    assert_eq!((amount, bank_ref.as_deref()), (None, Some("B1")));
    assert_eq!(booked_date, "2025-03-10".parse().ok());
    assert_eq!((principal, interest), ("790.00".parse().ok(), "10.00".parse().ok()));
    assert_eq!(
        bank(json!({"result": "failed", "code": "E1", "message": "no"})),
        BankAnswer::Failed { code: "E1".to_owned(), message: "no".to_owned() }
    );
    assert_eq!(bank(json!({"result": "uncertain", "code": "U1"})), BankAnswer::Uncertain { code: "U1".to_owned() });
    let nothing = bank(json!({"result": "booked", "amount": "0.00"}));
    assert_eq!(nothing, BankAnswer::Unreachable { code: "BOOKED_NOTHING".to_owned() });
}

#[test]
fn only_a_query_can_say_that_a_refund_is_not_known() {
    let not_found = refund(json!({"result": "not_found"}));
    assert_eq!(movement::of_a_question(not_found.clone()), Movement::NotKnown);
    assert!(matches!(movement::of_an_order(not_found), Movement::Unknown { .. }));
}

#[test]
fn a_refusal_without_a_word_about_retries_is_left_to_a_person() {
    let refused = movement::of_an_order(refund(json!({"result": "refused", "code": "E9", "message": "closed"})));
    let expected = Movement::Refused { code: "E9".to_owned(), message: "closed".to_owned(), retryable: false };
    assert_eq!(refused, expected);
}

/// The address of a service that answers everything in one way.
async fn service(status: StatusCode, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(any(move || async move { (status, [("location", "/elsewhere")], body) }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn what_is_no_answer_says_nothing_about_the_refund() {
    let page = "<html>busy</html>".to_owned();
    let refused = json!({"result": "refused", "code": "E1"}).to_string();
    for (status, body, code) in [
        (StatusCode::OK, page.clone(), "UNREADABLE"),
        (StatusCode::OK, r#"{"result": "surprising"}"#.to_owned(), "UNREADABLE"),
        (StatusCode::OK, " ".repeat(ANSWER_BYTES_MAX + 1), "UNREADABLE"),
        (StatusCode::NOT_FOUND, page.clone(), "HTTP_404"),
        (StatusCode::TOO_MANY_REQUESTS, page.clone(), "HTTP_429"),
        (StatusCode::TEMPORARY_REDIRECT, page.clone(), "HTTP_307"),
        (StatusCode::BAD_GATEWAY, page, "HTTP_502"),
        (StatusCode::BAD_GATEWAY, refused, "HTTP_502"),
    ] {
        let url = service(status, body).await;
        let calls = Calls::new(CallsConfig::new(&url, &url)).unwrap();
        assert!(matches!(calls.refund_result(&sent()).await, Movement::Unknown { .. }), "{code}");
        let order_no = format!("L{}", "A".repeat(29)).parse().unwrap();
        let question = RepaymentQuestion { order_no, channel_txn_no: "t1".to_owned(), amount: "1.00".parse().unwrap() };
        assert_eq!(
            calls.repayment_result(&party(), &question).await,
            BankAnswer::Unreachable { code: code.to_owned() }
        );
    }
}

#[tokio::test]
async fn a_refusal_in_the_acquirers_own_words_counts_whatever_its_status() {
    let url =
        service(StatusCode::CONFLICT, json!({"result": "refused", "code": "E1", "retryable": true}).to_string()).await;
    let calls = Calls::new(CallsConfig::new(&url, &url)).unwrap();
    assert!(matches!(calls.refund_result(&sent()).await, Movement::Refused { retryable: true, .. }));
}

#[tokio::test]
async fn nobody_listening_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let calls = Calls::new(CallsConfig::new(&url, &url)).unwrap();
    assert!(matches!(calls.refund_result(&sent()).await, Movement::Unknown { .. }));
    let told = |config| Calls::new(config).unwrap_err().to_string();
    let nonsense = told(CallsConfig::new("nonsense", &url));
    assert!(nonsense.contains("calls.bank_url (LEDGER_CALLS__BANK_URL)"), "{nonsense}");
    assert!(told(CallsConfig::new("ftp://bank/x", &url)).contains("calls.bank_url"));
    assert!(told(CallsConfig::default()).contains("nobody can be called"));
}

#[test]
fn an_address_holds_the_name_of_whom_it_belongs_to() {
    let school = "school-1".parse().unwrap();
    assert_eq!(address("https://host/{name}/api", &school, "credits"), "https://host/school-1/api/credits");
    assert_eq!(address("https://host", &school, "credits"), "https://host/credits");
}

#[tokio::test]
async fn a_bank_with_an_authority_of_its_own_is_called_once_that_is_trusted() {
    let authority = || {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (bank, stranger, key) = (authority(), authority(), KeyPair::generate().unwrap());
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &bank).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = tcp.local_addr().unwrap().port();
    let app = Router::new().fallback(any(|| async { json!({"result": "success"}).to_string() }));
    tokio::spawn(axum::serve(Https { tcp, tls: TlsAcceptor::from(Arc::new(server)) }, app).into_future());

    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = place.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (bank, stranger) = (file("bank.pem", bank.pem()), file("stranger.pem", stranger.pem()));
    let calls = |host: &str, ca_file: PathBuf| {
        let url = format!("https://{host}:{port}");
        Calls::new(CallsConfig { ca_file, ..CallsConfig::new(&url, &url) })
    };
    let answer = calls("localhost", bank.clone()).unwrap().refund_result(&sent()).await;
    assert!(matches!(answer, Movement::Done(_)), "{answer:?}");
    for (host, ca_file) in [("localhost", PathBuf::new()), ("localhost", stranger), ("127.0.0.1", bank)] {
        let Movement::Unknown { why, .. } = calls(host, ca_file).unwrap().refund_result(&sent()).await else {
            panic!("{host} was trusted")
        };
        assert!(why.contains("certificate"), "{why}");
    }
    for unusable in [file("empty.pem", String::new()), place.path().join("missing.pem")] {
        assert!(matches!(calls("localhost", unusable), Err(CallsError::Tls(_))));
    }
}

/// Axum over TLS; whoever hangs up in the handshake is forgotten.
struct Https {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for Https {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
