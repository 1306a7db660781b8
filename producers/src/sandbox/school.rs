//! A school: its card host credits cards, its fee system posts payments, each once per number.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    response::Response,
    routing::{get, post},
};
use schemas::{Amount, Name, events::CreditMode};

use super::{
    Outside,
    books::{Movement, Told},
    script::{Kind, Script},
};
use crate::calls::{CreditOrder, CreditReply, MovementResult, PostedLine, PostingOrder, PostingReply};

pub(super) fn routes() -> Router<Arc<Outside>> {
    Router::new()
        .route("/schools/{school}/credits", post(credit))
        .route("/schools/{school}/credits/{credit_no}", get(credit_result))
        .route("/schools/{school}/postings", post(posting))
        .route("/schools/{school}/postings/{posting_no}", get(posting_result))
}

async fn credit(
    State(outside): State<Arc<Outside>>,
    Path(school): Path<Name>,
    Json(order): Json<CreditOrder>,
) -> Response {
    let movement = Movement::new(&order.order_no, &school, order.card.as_str(), order.amount);
    outside.movement(Kind::Credit, &order.credit_no, movement, credit_reply).await
}

async fn credit_result(State(outside): State<Arc<Outside>>, Path((_, number)): Path<(Name, String)>) -> Response {
    outside.movement_result(Kind::Credit, &number, credit_reply).await
}

fn credit_reply(told: Told, script: &Script) -> CreditReply {
    let done = told.result == MovementResult::Success;
    let mode = if script.offline_card { CreditMode::PendingLoad } else { CreditMode::Online };
    CreditReply {
        result: told.result,
        mode: done.then_some(mode),
        host_ref: None,
        balance_after: None,
        code: told.code,
        message: String::new(),
        retryable: told.retryable,
    }
}

async fn posting(
    State(outside): State<Arc<Outside>>,
    Path(school): Path<Name>,
    Json(order): Json<PostingOrder>,
) -> Response {
    let amount: Amount = order.lines.iter().map(|line| line.amount).sum();
    // The lines stand in the reference, so that a question about the posting can be answered line by line.
    let lines: Vec<String> = order.lines.iter().map(|line| line.line.to_string()).collect();
    let movement = Movement::new(&order.order_no, &school, lines.join(","), amount);
    outside.movement(Kind::Posting, &order.posting_no, movement, posting_reply).await
}

async fn posting_result(State(outside): State<Arc<Outside>>, Path((_, number)): Path<(Name, String)>) -> Response {
    outside.movement_result(Kind::Posting, &number, posting_reply).await
}

fn posting_reply(told: Told, script: &Script) -> PostingReply {
    let taken = |line: &u16| !script.refused_lines.contains(line);
    let lines = told.reference.split(',').filter_map(|line| line.parse().ok()).filter(taken);
    let posted: Vec<PostedLine> = lines.map(|line| PostedLine { line, remaining: None, school_ref: None }).collect();
    let code = if script.refused_lines.is_empty() { told.code } else { "ITEM_CLOSED".to_owned() };
    PostingReply { result: told.result, posted, code, message: String::new(), retryable: told.retryable }
}
