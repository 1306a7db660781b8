//! Who is at the door: a bearer token names a client, and the client may speak for its sources.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request},
    http::{header, request::Parts},
    middleware::Next,
    response::Response,
};
use schemas::{Name, Refusal, RefusalCode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    Client, Door, Problem,
    authority::{Role, Source},
    problem::DoorCode,
};

/// A client that has shown its token.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Guest>);

#[derive(Debug)]
struct Guest {
    name: String,
    token_digest: [u8; 32],
    sources: Vec<Source>,
}

/// Everybody who may come in. Only digests of their tokens are kept in memory.
pub struct Guests(Vec<Arc<Guest>>);

impl Guests {
    pub fn new(clients: Vec<Client>) -> Self {
        let guest = |client: Client| {
            Arc::new(Guest { name: client.name, token_digest: digest(&client.token), sources: client.sources })
        };
        // An empty token would let anybody in.
        Self(clients.into_iter().filter(|client| !client.token.is_empty()).map(guest).collect())
    }

    /// Looks at every guest and at every byte of a digest, so that the time it takes tells nothing about a token.
    fn find(&self, token: &str) -> Option<Caller> {
        let shown = digest(token);
        let is_it = |guest: &Guest| bool::from(guest.token_digest.ct_eq(&shown));
        self.0.iter().fold(None, |found, guest| is_it(guest).then(|| Caller(guest.clone())).or(found))
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Caller {
    /// A channel whose signature was verified, as the client of its own that it has by default.
    pub fn signed(channel: Name) -> Self {
        let source = Source::channel(channel);
        Self(Arc::new(Guest { name: source.to_string(), token_digest: [0; 32], sources: vec![source] }))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The caller's own source that an event names.
    pub fn source(&self, stated: &str) -> Result<&Source, Refusal> {
        let own = stated.parse().ok().and_then(|source: Source| self.0.sources.iter().find(|own| **own == source));
        own.ok_or_else(|| {
            let detail = format!("the client {} may not report as {stated:.80}", self.0.name);
            Refusal::new(RefusalCode::NotYours, detail)
        })
    }

    pub fn is_operator(&self) -> bool {
        self.0.sources.iter().any(|source| source.role == Role::Operator)
    }

    pub fn channels(&self) -> impl Iterator<Item = &Name> {
        self.0.sources.iter().filter(|source| source.role == Role::Channel).map(|source| &source.name)
    }
}

impl FromRequestParts<Door> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let shown = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, token) = shown.and_then(|text| text.split_once(' ')).unwrap_or_default();
        let caller = door.guests.find(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"));
        let caller = caller.ok_or_else(|| {
            Problem::door(DoorCode::Unauthorized, match token {
                "" => "send the header Authorization: Bearer <token>",
                _ => "this token is not known here; `ledger token` prints those of this door's data folder and secret",
            })
        })?;
        tracing::Span::current().record("client", caller.name());
        Ok(caller)
    }
}

/// Lets only operators pass: what finance reads is not for channels.
pub async fn operators_only(caller: Caller, request: Request, next: Next) -> Result<Response, Problem> {
    if !caller.is_operator() {
        return Err(Problem::from(Refusal::new(RefusalCode::NotYours, "the reports are for operators")));
    }
    Ok(next.run(request).await)
}
