//! How an answer reaches whoever asked, or fails to.

use std::{future, io, time::Duration};

use axum::{
    Json,
    body::Body,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Serialize;

use super::script::Delivery;

pub(super) async fn deliver(delivery: Delivery, reply: impl Serialize) -> Response {
    match delivery {
        Delivery::Prompt => Json(reply).into_response(),
        Delivery::Late { ms } => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Json(reply).into_response()
        }
        Delivery::Never => future::pending().await,
        Delivery::Http500 => (StatusCode::INTERNAL_SERVER_ERROR, "scripted").into_response(),
        // A body that breaks at once: the server closes the connection before it has written anything.
        Delivery::Reset => {
            let broken = stream::iter([Err::<String, _>(io::Error::from(io::ErrorKind::ConnectionReset))]);
            Body::from_stream(broken).into_response()
        }
    }
}
