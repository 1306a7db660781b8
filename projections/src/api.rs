//! Reading over HTTP. A reader may name a position that an append answered, and waits until the views include it.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use deadpool_postgres::Pool;
use engine::stream::{WaitError, wait_until_applied};
use schemas::Position;
use serde::Deserialize;

use crate::report;

const READ_YOUR_WRITES_TIMEOUT: Duration = Duration::from_secs(5);
const ORDERS_MAX: i64 = 500;

/// The reading side of the HTTP interface.
pub fn router(pool: Pool) -> Router {
    Router::new()
        .route("/v1/orders", get(orders))
        .route("/v1/orders/{order_id}", get(order))
        .route("/v1/balances", get(balances))
        .with_state(pool)
}

#[derive(Deserialize)]
struct At {
    /// Wait until the views include this position.
    position: Option<String>,
    status: Option<String>,
    limit: Option<i64>,
}

/// RFC 9457.
fn problem(status: StatusCode, code: &str, detail: impl ToString) -> Response {
    let body = serde_json::json!({
        "type": format!("/problems/{}", code.to_ascii_lowercase().replace('_', "-")),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": code,
        "detail": detail.to_string(),
    });
    (status, [("content-type", "application/problem+json")], body.to_string()).into_response()
}

fn unavailable(error: WaitError) -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", error)
}

/// Waits for the position that the reader named, if any.
async fn wait(pool: &Pool, at: &At) -> Result<(), Response> {
    let Some(position) = &at.position else { return Ok(()) };
    let position: Position =
        position.parse().map_err(|detail: String| problem(StatusCode::BAD_REQUEST, "INVALID_POSITION", detail))?;
    let client = pool.get().await.map_err(|error| unavailable(error.into()))?;
    let projection = report::active_schema(&client).await.map_err(unavailable)?;
    drop(client);
    match wait_until_applied(pool, &projection, position, READ_YOUR_WRITES_TIMEOUT).await.map_err(unavailable)? {
        true => Ok(()),
        false => Err(problem(
            StatusCode::GATEWAY_TIMEOUT,
            "NOT_YET_APPLIED",
            format!("the views do not include {position} yet; ask again"),
        )),
    }
}

async fn order(
    State(pool): State<Pool>,
    Path(order_id): Path<String>,
    Query(at): Query<At>,
) -> Result<Response, Response> {
    wait(&pool, &at).await?;
    let found = report::find_order(&pool, &order_id).await.map_err(unavailable)?;
    found.map(|order| Json(order).into_response()).ok_or_else(|| {
        problem(StatusCode::NOT_FOUND, "ORDER_NOT_FOUND", "no event of this order has reached the views")
    })
}

async fn orders(State(pool): State<Pool>, Query(at): Query<At>) -> Result<Response, Response> {
    wait(&pool, &at).await?;
    let limit = at.limit.unwrap_or(50).clamp(1, ORDERS_MAX);
    let orders = report::list_orders(&pool, at.status.as_deref(), limit).await.map_err(unavailable)?;
    Ok(Json(orders).into_response())
}

async fn balances(State(pool): State<Pool>, Query(at): Query<At>) -> Result<Response, Response> {
    wait(&pool, &at).await?;
    let balances = report::balances(&pool).await.map_err(unavailable)?;
    let position = report::position(&pool).await.map_err(unavailable)?;
    Ok(Json(serde_json::json!({ "balances": balances, "position": position })).into_response())
}
