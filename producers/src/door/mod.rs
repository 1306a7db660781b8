//! The HTTP door: what channels, banks and operators report becomes events of the log.
//!
//! Nothing is answered with 201 before the log has acknowledged it, and whatever is refused is refused by name. The
//! door decides nothing about orders: it appends requests, and may wait until the coordinator has judged them.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use deadpool_postgres::Pool;
use engine::{clock::Clock, log::Log};
use rules::policy::Policy;
use serde::{Deserialize, Serialize};

use self::{fee_payments::FeePaymentRequest, repayments::RepaymentRequest, top_ups::TopUpRequest};
use crate::{publisher::Publisher, token::Tokens};

pub mod authority;
mod caller;
mod events;
mod fee_payments;
mod health;
mod ingest;
mod json;
pub(crate) mod known;
mod notify;
pub mod openapi;
mod problem;
mod purchases;
mod repayments;
mod requests;
mod streams;
mod top_ups;
mod trace;

pub use authority::Source;
pub use caller::operators_only;
pub(crate) use ingest::{Verdict, conflict, verdicts};
pub(crate) use json::read as read_json;
pub use notify::router as webhooks;
pub use problem::{Code, DoorCode, Problem};

/// How the door works; what is left out has a default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DoorConfig {
    pub clients: Vec<Client>,
    /// How long a repayment request waits for the coordinator's answer, in milliseconds.
    pub answer_timeout_ms: u64,
    /// How long an append may take before its outcome counts as unknown, in milliseconds.
    pub append_timeout_ms: u64,
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
    /// How long repeats and idempotency keys are recognised, in days.
    pub retention_days: i32,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self {
            clients: Vec::new(),
            answer_timeout_ms: 2_000,
            append_timeout_ms: 10_000,
            body_bytes_max: 8 << 20,
            retention_days: 30,
        }
    }
}

/// Who may come in, and in whose name.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub name: String,
    /// The bearer token: a secret.
    pub token: String,
    /// Whom it may report for: `/channels/ums-pos`, `/banks/cdb`, `/schools/school-1`, `/operators/li`.
    pub sources: Vec<Source>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({}, {:?})", self.name, self.sources)
    }
}

/// What the handlers share.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

pub struct Shared {
    publisher: Publisher,
    pool: Pool,
    tokens: Tokens,
    policy: Policy,
    guests: caller::Guests,
    config: DoorConfig,
}

impl std::ops::Deref for Door {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Door {
    /// A door that appends to `topic` of `log`.
    pub fn new(
        mut config: DoorConfig,
        log: Arc<dyn Log>,
        topic: impl Into<String>,
        clock: Clock,
        pool: Pool,
        tokens: Tokens,
        policy: Policy,
    ) -> Self {
        let guests = caller::Guests::new(std::mem::take(&mut config.clients));
        let publisher = Publisher::new(log, topic, clock);
        Self(Arc::new(Shared { publisher, pool, tokens, policy, guests, config }))
    }

    /// Forgets old facts and idempotency keys, once an hour, for as long as the future is polled.
    pub async fn tidy_up(self) {
        loop {
            match known::forget(&self.pool, self.config.retention_days).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "old facts and idempotency keys are forgotten"),
                Err(error) => tracing::warn!(%error, "old facts could not be forgotten"),
            }
            tokio::time::sleep(TIDY_INTERVAL).await;
        }
    }
}

const TIDY_INTERVAL: Duration = Duration::from_secs(3600);

/// The door with what `others` serve through it: one log line, one request id and one form of refusal for all.
pub fn router(door: Door, others: Router) -> Router {
    let body_bytes_max = door.config.body_bytes_max;
    Router::new()
        .route("/v1/events", post(events::post))
        .route("/v1/streams", post(streams::post))
        .route("/v1/loan-repayments", post(requests::post::<RepaymentRequest>))
        .route("/v1/loan-repayments/{order_id}", get(requests::get))
        .route("/v1/card-top-ups", post(requests::post::<TopUpRequest>))
        .route("/v1/card-top-ups/{order_id}", get(requests::get))
        .route("/v1/fee-payments", post(requests::post::<FeePaymentRequest>))
        .route("/v1/fee-payments/{order_id}", get(requests::get))
        .route("/v1/purchases", post(purchases::post))
        .route("/v1/purchases/{order_id}", get(requests::get))
        .route("/v1/offline-purchases", post(purchases::post_offline))
        .route("/v1/offline-purchases/{order_id}", get(requests::get))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(door)
        .merge(others)
        .fallback(async || Problem::door(DoorCode::NotFound, "the paths are listed at /v1/openapi.json"))
        .method_not_allowed_fallback(async || Problem::door(DoorCode::MethodNotAllowed, "see /v1/openapi.json"))
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .layer(middleware::from_fn(trace::each_request))
}

#[cfg(test)]
pub(crate) mod tests;
