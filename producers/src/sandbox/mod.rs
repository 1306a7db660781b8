//! The outside, played: an acquirer, a bank and schools behind real HTTP, for demos and tests. What they do with an order
//! is scripted; what they did stands in their own books.
//!
//! | request | what it is |
//! |---|---|
//! | `POST /bank/repayment-results` | the bank's result query |
//! | `POST /acquirer/refunds`, `GET /acquirer/refunds/{request_no}` | a refund, and what became of it |
//! | `POST /acquirer/debits`, `GET /acquirer/debits/{debit_no}` | a debit under a mandate |
//! | `POST /schools/{school}/credits`, `GET …/credits/{credit_no}` | a card host credits a card |
//! | `POST /schools/{school}/postings`, `GET …/postings/{posting_no}` | a school posts fees |
//! | `POST /acquirer/payments`, `GET /acquirer/payments/{order_no}` | a payer pays; what was paid |
//! | `POST /alipay/gateway.do` | Alipay's gateway, with its signatures; it notifies `/v1/notify/{channel}` at the door |
//! | `PUT /sandbox/scripts/{order_no}` | a [`Script`] for an order |
//! | `GET /sandbox/books` | the [`Books`] |

use std::{
    collections::BTreeMap,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::{get, put},
};
use chrono::{DateTime, FixedOffset};
use engine::{
    clock::Clock,
    tls::{TlsError, Trust},
};
use rules::{
    business_day::shanghai,
    policy::{ChannelTerms, Policy},
};
use schemas::{Name, OrderId};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, runtime::Handle, task::JoinHandle};

use self::{books::Told, delivery::deliver, script::Kind};
use crate::{calls::CallsConfig, channels::ChannelsConfig, http, signature::KeyError};

mod acquirer;
mod alipay;
mod bank;
mod books;
mod delivery;
pub mod keys;
mod notice;
mod school;
mod script;

pub use acquirer::PaymentRequest;
pub use books::{Books, Capture, Movement, MovementState, Repayment};
pub use script::{BankStep, Delivery, MoveStep, NoticeStep, Refusal, Script, Share};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// How orders go that have no script and no lot of their own.
    pub default: Script,
    /// Draws the orders of the shares.
    pub seed: u64,
    pub shares: Vec<Share>,
    /// Terms of the channels, which its fees follow, and who debits holders; as the ledger's own unless said otherwise.
    #[serde(skip)]
    pub policy: Policy,
    /// With which the door takes notices, and the channels sign them.
    #[serde(skip)]
    pub channels: ChannelsConfig,
    /// Where captures are told.
    pub door: Option<Door>,
    /// How long a minute is between Alipay's notices, of which the last comes a day after the first, in milliseconds.
    pub alipay_minute_ms: u64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            default: Script::default(),
            seed: 0,
            shares: Vec::new(),
            policy: Policy::default(),
            channels: ChannelsConfig::default(),
            door: None,
            alipay_minute_ms: 10,
        }
    }
}

/// Where captures are told, and the bearer token of each channel. What is signed needs none.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Door {
    pub url: String,
    #[serde(default)]
    pub tokens: BTreeMap<Name, String>,
}

/// Tokens are secret.
impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("url", &self.url).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("the sandbox cannot listen on {addr}")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("a key of the played Alipay cannot be used")]
    Key(#[from] KeyError),
}

/// A running sandbox; it ends when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    pub url: String,
    pub bank_url: String,
    pub acquirer_url: String,
    /// With the place of the school's name.
    pub schools_url: String,
    pub handle: JoinHandle<io::Result<()>>,
    outside: Arc<Outside>,
}

impl Sandbox {
    /// Listens on `addr` (port 0 for any free one) and answers from then on.
    pub async fn start(addr: SocketAddr, config: SandboxConfig, clock: Clock) -> Result<Self, SandboxError> {
        let listen = |source| SandboxError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(listen)?;
        let url = format!("http://{}", listener.local_addr().map_err(listen)?);
        let outside = Arc::new(Outside::new(config, clock, Handle::current())?);
        let handle = tokio::spawn(axum::serve(listener, router(Arc::clone(&outside))).into_future());
        let (bank_url, acquirer_url) = (format!("{url}/bank"), format!("{url}/acquirer"));
        Ok(Self { bank_url, acquirer_url, schools_url: format!("{url}/schools/{{name}}"), url, handle, outside })
    }

    /// Whom the ledger calls here, in place of whomever it calls by these settings.
    #[must_use]
    pub fn calls(&self, others: CallsConfig) -> CallsConfig {
        CallsConfig {
            bank_url: self.bank_url.clone(),
            acquirer_url: self.acquirer_url.clone(),
            card_host_url: self.schools_url.clone(),
            school_url: self.schools_url.clone(),
            alipay: self.alipay_config(),
            ..others
        }
    }

    /// Captures are told to this door from now on.
    pub fn set_door(&self, door: Door) {
        self.outside.change(|world| world.door = Some(door));
    }

    /// The order goes by this script from now on.
    pub fn set_script(&self, order_no: &OrderId, script: Script) {
        self.outside.change(|world| world.scripts.set(order_no.to_string(), script));
    }

    /// A payer pays.
    pub fn pay(&self, request: PaymentRequest) -> Capture {
        self.outside.pay(request)
    }

    pub fn books(&self) -> Books {
        self.outside.change(|world| world.books.clone())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

fn router(outside: Arc<Outside>) -> Router {
    Router::new()
        .merge(bank::routes())
        .merge(acquirer::routes())
        .merge(alipay::routes())
        .merge(school::routes())
        .route("/sandbox/scripts/{order_no}", put(set_script))
        .route("/sandbox/books", get(books))
        .route("/healthz", get(async || StatusCode::NO_CONTENT))
        .with_state(outside)
}

async fn set_script(
    State(outside): State<Arc<Outside>>,
    Path(order_no): Path<String>,
    Json(script): Json<Script>,
) -> StatusCode {
    outside.change(|world| world.scripts.set(order_no, script));
    StatusCode::NO_CONTENT
}

async fn books(State(outside): State<Arc<Outside>>) -> Json<Books> {
    Json(outside.change(|world| world.books.clone()))
}

/// What all requests share.
#[derive(Debug)]
struct Outside {
    clock: Clock,
    policy: Policy,
    channels: ChannelsConfig,
    http: reqwest::Client,
    runtime: Handle,
    alipay: alipay::Keys,
    alipay_minute: Duration,
    world: Mutex<World>,
}

#[derive(Debug)]
struct World {
    books: Books,
    scripts: script::Scripts,
    alipay: alipay::Known,
    door: Option<Door>,
}

impl Outside {
    fn new(config: SandboxConfig, clock: Clock, runtime: Handle) -> Result<Self, SandboxError> {
        let scripts = script::Scripts::new(config.default, config.seed, config.shares);
        Ok(Self {
            clock,
            policy: config.policy,
            channels: config.channels,
            http: http::client(Trust::system())?.timeout(Duration::from_secs(10)).build()?,
            runtime,
            alipay: alipay::Keys::read()?,
            alipay_minute: Duration::from_millis(config.alipay_minute_ms),
            world: Mutex::new(World {
                books: Books::default(),
                scripts,
                alipay: alipay::Known::default(),
                door: config.door,
            }),
        })
    }

    /// One look or change at a time; never held while anything waits.
    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> DateTime<FixedOffset> {
        shanghai(&self.clock.now())
    }

    fn terms(&self, channel: &Name) -> ChannelTerms {
        self.policy.terms(channel)
    }

    fn withholding_channel(&self) -> Name {
        self.policy.withholding_channel.clone()
    }

    /// A call that moves value, done and answered as the order's script says.
    async fn movement<R: Serialize>(
        &self,
        kind: Kind,
        number: &str,
        movement: Movement,
        reply: impl Fn(Told, &Script) -> R,
    ) -> Response {
        let (now, order_no) = (self.now(), movement.order_no.clone());
        let (reply, delivery) = self.change(|world| {
            let (told, delivery) = match world.books.repeated(kind, number, &movement) {
                Some(told) => (told, Delivery::Prompt),
                None => {
                    let (deed, delivery) = world.scripts.movement(kind, order_no.as_str()).parts();
                    (world.books.act(kind, number, deed, now), delivery)
                }
            };
            (reply(told, world.scripts.of(order_no.as_str())), delivery)
        });
        deliver(delivery, reply).await
    }

    /// A question about one.
    async fn movement_result<R: Serialize>(
        &self,
        kind: Kind,
        number: &str,
        reply: impl Fn(Told, &Script) -> R,
    ) -> Response {
        let now = self.now();
        let (reply, delivery) = self.change(|world| {
            let order_no = world.books.order_of(kind, number).map(|order| order.to_string()).unwrap_or_default();
            let delivery = match kind {
                Kind::Refund if !order_no.is_empty() => world.scripts.refund_query(&order_no),
                Kind::Refund | Kind::Credit | Kind::Posting | Kind::Debit => Delivery::Prompt,
            };
            let told = world.books.result(kind, number, now);
            (reply(told, world.scripts.of(&order_no)), delivery)
        });
        deliver(delivery, reply).await
    }
}

#[cfg(test)]
mod tests;
