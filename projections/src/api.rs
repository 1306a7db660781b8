//! Reading over HTTP, and how it is described. A reader may name a position that an append answered, and waits until the
//! views include it.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use deadpool_postgres::Pool;
use engine::{postgres::QueryError, stream::wait_until_applied};
use rules::order::OrderStatus;
use schemars::{JsonSchema, SchemaGenerator};
use schemas::{OrderId, Position};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::report::{self, BalanceReport, OrderReport, PositionReport};

const READ_YOUR_WRITES_TIMEOUT: Duration = Duration::from_secs(5);
const ORDERS_MAX: i64 = 500;
const ORDERS_DEFAULT: i64 = 50;

/// The reading side of the HTTP interface.
pub fn router(pool: Pool) -> Router {
    Router::new()
        .route("/v1/orders", get(orders))
        .route("/v1/orders/{order_id}", get(order))
        .route("/v1/balances", get(balances))
        .with_state(pool)
}

/// The page that people look at. It holds no data: it asks the paths above, with the token of whoever opened it.
pub fn console() -> Router {
    const PAGE: &str = include_str!("console.html");
    // Nothing but the page itself runs in it, and it speaks to nobody but its own door.
    const POLICY: &str = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; \
                          style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let page = || async { ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE)) };
    Router::new().route("/console", get(page))
}

/// What may be asked besides the address. A parameter that nobody knows is refused, because a misspelt one would be lost
/// in silence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    position: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    position: Option<String>,
    status: Option<String>,
    limit: Option<i64>,
}

/// The trial balance, and whose money is where.
#[derive(Serialize, JsonSchema)]
struct Balances {
    balances: Vec<BalanceReport>,
    position: PositionReport,
}

/// Why a report cannot be shown.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ReadCode {
    InvalidQuery,
    InvalidPosition,
    OrderNotFound,
    NotYetApplied,
    Unavailable,
}

/// RFC 9457, as the door's.
#[derive(Serialize, JsonSchema)]
struct ReadProblem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// What is wrong with this very request.
    detail: String,
    code: ReadCode,
}

fn problem(code: ReadCode, detail: impl ToString) -> Response {
    let (status, kind, title) = match code {
        ReadCode::InvalidQuery => (StatusCode::BAD_REQUEST, "/problems/invalid-query", "This cannot be asked"),
        ReadCode::InvalidPosition => (StatusCode::BAD_REQUEST, "/problems/invalid-position", "This is no position"),
        ReadCode::OrderNotFound => (StatusCode::NOT_FOUND, "/problems/order-not-found", "The views know no such order"),
        ReadCode::NotYetApplied => {
            (StatusCode::GATEWAY_TIMEOUT, "/problems/not-yet-applied", "The views are not that far yet")
        }
        ReadCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "/problems/unavailable", "Out of service for now"),
    };
    let body = ReadProblem { kind, title, status: status.as_u16(), detail: detail.to_string(), code };
    (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body).into_response().into_body())
        .into_response()
}

fn unavailable(error: QueryError) -> Response {
    problem(ReadCode::Unavailable, error)
}

fn invalid_query(detail: impl ToString) -> Response {
    problem(ReadCode::InvalidQuery, detail)
}

fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Response> {
    query.map(|Query(asked)| asked).map_err(|rejection| invalid_query(rejection.body_text()))
}

/// Waits for the position that the reader named, if any.
async fn wait(pool: &Pool, position: Option<&str>) -> Result<(), Response> {
    let Some(position) = position else { return Ok(()) };
    let position: Position = position.parse().map_err(|detail: String| problem(ReadCode::InvalidPosition, detail))?;
    let client = pool.get().await.map_err(|error| unavailable(error.into()))?;
    let projection = report::active_schema(&client).await.map_err(unavailable)?;
    drop(client);
    match wait_until_applied(pool, &projection, position, READ_YOUR_WRITES_TIMEOUT).await.map_err(unavailable)? {
        true => Ok(()),
        false => Err(problem(ReadCode::NotYetApplied, format!("the views do not include {position} yet; ask again"))),
    }
}

async fn order(
    State(pool): State<Pool>,
    path: Result<Path<String>, PathRejection>,
    at: Result<Query<At>, QueryRejection>,
) -> Result<Json<OrderReport>, Response> {
    let not_found = || problem(ReadCode::OrderNotFound, "no event of this order has reached the views");
    let at = asked(at)?;
    // Only what has the form of an order number reaches Postgres, which takes no U+0000.
    let order_id: OrderId = path.ok().and_then(|Path(text)| text.parse().ok()).ok_or_else(not_found)?;
    wait(&pool, at.position.as_deref()).await?;
    let found = report::find_order(&pool, order_id.as_str()).await.map_err(unavailable)?;
    found.map(Json).ok_or_else(not_found)
}

async fn orders(
    State(pool): State<Pool>,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Result<Json<Vec<OrderReport>>, Response> {
    let Listing { position, status, limit } = asked(listing)?;
    let limit = limit.unwrap_or(ORDERS_DEFAULT);
    if !(1..=ORDERS_MAX).contains(&limit) {
        return Err(invalid_query(format!("limit is 1 to {ORDERS_MAX}")));
    }
    let statuses = statuses();
    if status.as_deref().is_some_and(|status| !statuses.contains(&status)) {
        return Err(invalid_query(format!("status is one of {}", statuses.join(", "))));
    }
    wait(&pool, position.as_deref()).await?;
    Ok(Json(report::list_orders(&pool, status.as_deref(), limit).await.map_err(unavailable)?))
}

fn statuses() -> Vec<&'static str> {
    OrderStatus::ALL.iter().map(|status| status.as_str()).collect()
}

async fn balances(State(pool): State<Pool>, at: Result<Query<At>, QueryRejection>) -> Result<Json<Balances>, Response> {
    wait(&pool, asked(at)?.position.as_deref()).await?;
    let (balances, position) = report::books(&pool).await.map_err(unavailable)?;
    Ok(Json(Balances { balances, position }))
}

/// The paths for the OpenAPI document. What a door refuses before it lets a reader in, whoever serves this adds.
pub fn paths(generator: &mut SchemaGenerator) -> Value {
    let (one, all) = (schema::<OrderReport>(generator), schema::<Vec<OrderReport>>(generator));
    let (balances, problem) = (schema::<Balances>(generator), schema::<ReadProblem>(generator));
    let operation = |id: &str, summary: &str, parameters: &[&Value], answer: &Value, problems: &[(&str, &str)]| {
        let mut responses = json!({
            "200": { "description": "As the views have it", "content": { "application/json": { "schema": answer } } },
        });
        for (status, description) in problems {
            responses[*status] = json!({
                "description": description,
                "content": { "application/problem+json": { "schema": problem } },
            });
        }
        json!({ "get": {
            "operationId": id, "summary": summary, "parameters": parameters, "responses": responses,
        } })
    };
    let query = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "query", "description": description, "schema": schema });
    let position = query(
        "position",
        "Wait until the views include what was answered at this position",
        json!({ "type": "string", "pattern": "^[0-9]+:[0-9]+$" }),
    );
    let status = query("status", "Only orders of this status", json!({ "type": "string", "enum": statuses() }));
    let limit = query(
        "limit",
        "At most so many",
        json!({ "type": "integer", "minimum": 1, "maximum": ORDERS_MAX, "default": ORDERS_DEFAULT }),
    );
    let order_id = json!({ "name": "order_id", "in": "path", "required": true, "schema": { "type": "string" } });
    let refused = ("400", "The query is not in order");
    let (away, late) = (("503", "Postgres does not answer"), ("504", "The views do not include the position yet"));
    json!({
        "/v1/orders": operation(
            "listOrders", "The newest orders, for operators", &[&status, &limit, &position], &all,
            &[refused, away, late],
        ),
        "/v1/orders/{order_id}": operation(
            "getOrder", "One order, for operators", &[&order_id, &position], &one,
            &[refused, ("404", "No event of this order has reached the views"), away, late],
        ),
        "/v1/balances": operation(
            "getBalances", "The trial balance, and whose money is where, for operators", &[&position], &balances,
            &[refused, away, late],
        ),
    })
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn without_postgres_every_path_is_out_of_service() {
        let pool = engine::postgres::pool("postgres://nobody@127.0.0.1:1/nowhere", "tests", 1).unwrap();
        let order = "/v1/orders/LAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for path in ["/v1/orders", "/v1/orders?position=0:0", order, "/v1/balances", "/v1/balances?position=0:0"] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let answer = router(pool.clone()).oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
            let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(
                (problem["code"].as_str(), problem["status"].as_u64()),
                (Some("UNAVAILABLE"), Some(503)),
                "{path}"
            );
        }
    }
}
