//! Whether the process lives, and whether it can do its work.

use std::time::Duration;

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Door, Problem, known, problem::DoorCode};

const PATIENCE: Duration = Duration::from_secs(2);

pub async fn alive() -> StatusCode {
    StatusCode::NO_CONTENT
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Ready {
    log: &'static str,
    postgres: &'static str,
}

/// The log and Postgres both answer.
pub async fn ready(State(door): State<Door>) -> Result<impl IntoResponse, Problem> {
    let not_ready = |what: &str| Problem::door(DoorCode::Unavailable, format!("{what} does not answer"));
    match tokio::join!(log_answers(&door), postgres_answers(&door)) {
        (_, false) => Err(not_ready("Postgres")),
        (false, true) => Err(not_ready("the log")),
        (true, true) => Ok(axum::Json(Ready { log: "ready", postgres: "ready" })),
    }
}

async fn log_answers(door: &Door) -> bool {
    let publisher = door.publisher.clone();
    let asked = tokio::task::spawn_blocking(move || publisher.ends().is_ok());
    matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok(true)))
}

async fn postgres_answers(door: &Door) -> bool {
    matches!(tokio::time::timeout(PATIENCE, known::is_reachable(&door.pool)).await, Ok(Ok(())))
}
