//! The bank: answers what became of a repayment, as its script says.

use std::sync::Arc;

use axum::{Json, Router, extract::State, response::Response, routing::post};

use super::{Outside, delivery::deliver};
use crate::calls::RepaymentQuestion;

pub(super) fn routes() -> Router<Arc<Outside>> {
    Router::new().route("/bank/repayment-results", post(repayment_result))
}

async fn repayment_result(State(outside): State<Arc<Outside>>, Json(question): Json<RepaymentQuestion>) -> Response {
    let today = outside.now().date_naive();
    let (reply, delivery) = outside.change(|world| {
        let (deed, delivery) = world.scripts.bank(question.order_no.as_str()).parts();
        (world.books.repayment(&question, deed, today), delivery)
    });
    deliver(delivery, reply).await
}
