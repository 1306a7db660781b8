//! A small world to play days in: a house with every role and a sandbox around it, and a client that speaks to the
//! door as channels, the bank and operators do. The demo and the end-to-end tests play on the same stage.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, FixedOffset, TimeDelta};
use engine::{clock::Clock, tls::Trust};
use producers::{
    door::Source,
    reconciliation::Reconciled,
    sandbox::{Capture, PaymentRequest, Sandbox, SandboxConfig, Script},
    signature::{Secret, timestamped},
    statement::{self, StatementFormat},
};
use reqwest::StatusCode;
use rules::{
    business_day::shanghai,
    reconciliation::{Books, BreakDecision},
};
use schemas::{
    Amount, Data, Event, Name, OrderId, Stream, StreamKind,
    events::{Evidence, Method, PaymentCaptured, ReconciliationBreakRaised},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{config::Config, house::House, roles::Running};

/// How long the ledger may take to come to rest between two steps of a day.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Stage {
    pub house: House,
    pub running: Running,
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
    pub door_url: String,
}

/// What the door answers to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub order_id: OrderId,
    /// `accepted`, or the code of the refusal.
    pub verdict: String,
}

impl Answer {
    fn read(answer: &Value) -> Result<Self> {
        let order_id = answer["order_id"].as_str().context("no order number")?.parse()?;
        let verdict = answer["code"].as_str().or(answer["status"].as_str()).unwrap_or_default().to_owned();
        Ok(Self { order_id, verdict })
    }
}

/// Who repays what, as a channel tells it.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    pub channel: &'a str,
    pub student: &'a str,
    pub contract: &'a str,
    pub amount: &'a str,
    /// Tells requests apart; the same key is the same request.
    pub key: &'a str,
    pub enrolled: bool,
    pub found: bool,
}

impl<'a> Ask<'a> {
    pub fn new(channel: &'a str, contract: &'a str, amount: &'a str, key: &'a str) -> Self {
        Self { channel, student: "11010519491231002X", contract, amount, key, enrolled: true, found: true }
    }
}

pub const CHANNELS: [&str; 2] = ["ums-pos", "unionpay-cqp"];

impl Stage {
    /// Opens a house with simulated time from `start`, and lets every role and the sandbox run.
    pub async fn open(config: Config, start: DateTime<FixedOffset>) -> Result<Self> {
        Self::open_by(config, Clock::simulated(start.to_utc()), SandboxConfig::default()).await
    }

    /// As [`Stage::open`], by whatever clock and in whatever world.
    pub async fn open_by(config: Config, clock: Clock, played: SandboxConfig) -> Result<Self> {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config { listen: any_port, sandbox_listen: any_port, sandbox: played, ..config };
        let mut house = House::open(config, clock).await?;
        house.apply_topics().await?;
        let mut running = Running::start_with_sandbox(&mut house).await?;
        let door_url = format!("http://{}", running.door.context("the door is not open")?);
        let sandbox = running.sandbox.take().context("the sandbox does not play")?;
        // The door speaks plain HTTP, so nobody has to be trusted.
        let http = producers::http::client(Trust::nobody())?.build()?;
        Ok(Self { house, running, sandbox, http, door_url })
    }

    pub async fn close(self) -> Result<()> {
        self.running.stop().await
    }

    /// Everything that can happen now has happened.
    pub async fn rest(&self) -> Result<()> {
        self.house.come_to_rest(PATIENCE).await
    }

    /// Time passes, and what falls due happens.
    pub async fn wait(&self, seconds: i64) -> Result<()> {
        self.rest().await?;
        self.house.clock.advance(TimeDelta::seconds(seconds));
        self.rest().await
    }

    /// Time passes until `time`.
    pub async fn wait_until(&self, time: DateTime<FixedOffset>) -> Result<()> {
        self.wait((time.to_utc() - self.house.clock.now()).num_seconds().max(0)).await
    }

    pub fn now(&self) -> DateTime<FixedOffset> {
        shanghai(&self.house.clock.now())
    }

    /// A channel asks for a repayment, and hears whether it may go ahead.
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Answer> {
        self.request("/v1/loan-repayments", ask.channel, ask.key, &self.repayment(ask)).await
    }

    fn repayment(&self, ask: &Ask<'_>) -> Value {
        let now = self.now();
        json!({
            "channel": ask.channel,
            "student": { "id_number": ask.student },
            "contract": { "reference": ask.contract, "type": "origin" },
            "amount": ask.amount,
            "enrolment": { "result": if ask.enrolled { "enrolled" } else { "not_enrolled" }, "checked_at": now },
            "quote": { "found": ask.found, "as_of": now },
            "consent": { "version": "2025-01", "consented_at": now },
            "requested_at": now,
        })
    }

    /// A channel asks for an order, and hears whether it may go ahead.
    pub async fn request(&self, path: &str, channel_name: &str, key: &str, body: &Value) -> Result<Answer> {
        let (status, answer) = self.post(path, &channel(channel_name)?, key, body).await?;
        Answer::read(&answer).with_context(|| format!("{status}: {answer}"))
    }

    pub async fn post(&self, path: &str, source: &Source, key: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let url = format!("{}{path}", self.door_url);
        let token = self.house.client_token(source)?;
        let request = self.http.post(url).bearer_auth(token).header("idempotency-key", key).json(body);
        let response = request.send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// Asks, and expects to be admitted.
    pub async fn accepted(&self, ask: &Ask<'_>) -> Result<OrderId> {
        self.admitted("/v1/loan-repayments", ask.channel, ask.key, &self.repayment(ask)).await
    }

    /// As [`Stage::request`], and expects to be admitted.
    pub async fn admitted(&self, path: &str, channel_name: &str, key: &str, body: &Value) -> Result<OrderId> {
        let mut answer = self.request(path, channel_name, key, body).await?;
        let until = tokio::time::Instant::now() + PATIENCE;
        // On a busy machine the coordinator may not have begun; the same key is the same request.
        while answer.verdict == "pending" && tokio::time::Instant::now() < until {
            answer = self.request(path, channel_name, key, body).await?;
        }
        ensure!(answer.verdict == "accepted", "{key} was not admitted: {}", answer.verdict);
        Ok(answer.order_id)
    }

    /// A terminal uploads what it sold while it was offline (脱机消费), and hears whether that counts.
    pub async fn upload(&self, purchase: &Value) -> Result<Answer> {
        let secret = Secret::new(&self.house.config.channels.campus_pos.0.secret)?;
        let body = json!({ "purchases": [purchase] }).to_string();
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let signature = timestamped::sign(body.as_bytes(), &secret, self.house.clock.now().timestamp());
            let request = self.http.post(format!("{}/v1/notify/campus-pos", self.door_url)).body(body.clone());
            let response = request.header(timestamped::HEADER, signature).send().await?;
            let (status, answers): (_, Value) = (response.status(), response.json().await?);
            let answer = Answer::read(&answers["purchases"][0]).with_context(|| format!("{status}: {answers}"))?;
            if answer.verdict != "pending" || tokio::time::Instant::now() > until {
                return Ok(answer);
            }
        }
    }

    /// The stream of a number, and the opaque id of the person whom a school knows by it.
    pub async fn stream(&self, source: &str, kind: StreamKind, party: &str, number: &str) -> Result<(Stream, Uuid)> {
        let body = json!({ "kind": kind, "party": party, "number": number });
        let (status, answer) = self.post("/v1/streams", &source.parse()?, "-", &body).await?;
        let text = |name: &str| answer[name].as_str().with_context(|| format!("{status}: {answer}"));
        Ok((text("stream")?.parse()?, text("person").unwrap_or_default().parse().unwrap_or_default()))
    }

    /// The holder of a card agrees at Alipay to be debited for it (免密支付签约), and Alipay has told the door.
    pub async fn sign_mandate(&self, school: &str, card: &str, agreement_no: &str) -> Result<()> {
        let body = json!({ "kind": StreamKind::Card, "party": school, "number": card });
        let source = "/channels/alipay-withholding".parse()?;
        let (status, answer) = self.post("/v1/streams", &source, agreement_no, &body).await?;
        let reference = answer["reference"].as_str().with_context(|| format!("{status}: {answer}"))?;
        self.sandbox.sign_mandate(reference, agreement_no).await;
        Ok(())
    }

    /// An event about a card or a fee account as a whole, that happens now.
    pub fn about(&self, source: &str, stream: &Stream, data: impl Into<Data>) -> Event {
        Event::about_stream(source, stream, self.now(), data)
    }

    pub fn script(&self, order: &OrderId, script: Script) {
        self.sandbox.set_script(order, script);
    }

    /// The payer pays at the acquirer, which tells the door as the order's script says.
    pub fn pay(&self, order: &OrderId, channel: &str, method: Method, amount: &str) -> Result<Capture> {
        Ok(self.sandbox.pay(PaymentRequest {
            order_no: order.clone(),
            channel: channel.parse()?,
            method,
            amount: amount.parse()?,
            channel_txn_no: None,
            business_date: None,
            captured_at: Some(self.now()),
            instrument_masked: None,
            terminal: None,
        }))
    }

    /// The acquirer has told the door of every payment of this order, as often as its script says.
    pub async fn notified(&self, order: &OrderId) -> Result<()> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let books = self.sandbox.books();
            let captures = books.captures.get(order).map_or(&[][..], Vec::as_slice);
            if captures.iter().all(|capture| capture.notices_acknowledged > 0) {
                return Ok(());
            }
            ensure!(tokio::time::Instant::now() < until, "the door was not told of {order}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The id of an order's first capture.
    pub async fn capture_id(&self, order: &OrderId) -> Result<Uuid> {
        let positions = projections::timeline::positions(&self.house.pool, order).await?;
        let (log, topic) = (self.house.log.clone(), self.house.events_topic().to_owned());
        let read =
            tokio::task::spawn_blocking(move || projections::timeline::read(&*log, &topic, &positions)).await??;
        let captured = read.iter().find(|read| matches!(read.event.data, Data::PaymentCaptured(_)));
        Ok(captured.with_context(|| format!("{order} has no capture"))?.event.id)
    }

    /// Reports events in the name of `source`, and answers what the door said.
    pub async fn report(&self, source: &str, events: &[Event]) -> Result<(StatusCode, Value)> {
        let events: Vec<Value> = events.iter().map(Event::to_structured).collect();
        self.post_events(source, &json!(events)).await
    }

    pub async fn post_events(&self, source: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let response = self
            .http
            .post(format!("{}/v1/events", self.door_url))
            .bearer_auth(self.house.client_token(&source.parse()?)?)
            .header("content-type", "application/cloudevents-batch+json")
            .body(body.to_string())
            .send()
            .await?;
        let status = response.status();
        Ok((status, response.json().await?))
    }

    /// Reports events, and expects that the ledger takes them.
    pub async fn tell(&self, source: &str, events: &[Event]) -> Result<()> {
        let (status, answer) = self.report(source, events).await?;
        ensure!(status.is_success(), "{source} was refused: {status} {answer}");
        Ok(())
    }

    /// Compares the channel's statement of a day, of these payments and amounts, with the ledger.
    pub async fn reconcile(&self, channel: &str, date: &str, lines: &[(&Capture, &str)]) -> Result<Reconciled> {
        let line = |(capture, amount): &(&Capture, &str)| {
            format!("{},{amount},,{},payment\n", capture.channel_txn_no, capture.order_no)
        };
        self.compare(channel, date, &lines.iter().map(line).collect::<String>()).await
    }

    /// As [`Stage::reconcile`], of these lines as text.
    pub async fn compare(&self, channel: &str, date: &str, lines: &str) -> Result<Reconciled> {
        let text = format!("number,amount,fee,order,kind\n{lines}");
        let format = StatementFormat::default();
        let read = statement::read(text.as_bytes(), date.parse()?, &format!("{channel}_{date}.csv"), &format)?;
        let policy = &self.house.config.policy;
        let found = self.house.reconciler().reconcile(&channel.parse()?, Some(&read), policy).await?;
        self.rest().await?;
        Ok(found)
    }

    /// A person says whose payment it is that only the statement has.
    pub async fn identify(&self, books: &Books, payment: &Capture) -> Result<()> {
        let of_it = |raised: &&ReconciliationBreakRaised| raised.number.as_ref() == Some(&payment.channel_txn_no);
        let raised = books.open_breaks().into_iter().find(of_it).context("the statement differs in no such payment")?;
        let (order, method) = (payment.order_no.clone(), payment.method);
        let identified = BreakDecision::LateCapturePosted { order, method };
        let approvers = ["finance-2".parse()?];
        let occurrence = (raised.break_id, raised.occurrence);
        let policy = &self.house.config.policy;
        self.house.reconciler().resolve(&payment.channel, occurrence, &identified, &approvers, policy).await?;
        self.rest().await
    }

    /// An event about an order, that happens now.
    pub fn event(&self, source: &str, order: &OrderId, data: impl Into<Data>) -> Event {
        Event::about_order(source, order, self.now(), data)
    }

    /// The capture as a query at the channel finds it.
    pub fn capture_by_query(&self, order: &OrderId, capture: &Capture) -> Event {
        let data = PaymentCaptured {
            channel: capture.channel.clone(),
            channel_txn_no: capture.channel_txn_no.clone(),
            method: capture.method,
            amount: capture.amount,
            business_date: capture.business_date,
            fee: capture.fee,
            instrument_masked: None,
            terminal: None,
            evidence: Evidence::Query,
        };
        Event::about_order(format!("/channels/{}", capture.channel), order, capture.captured_at, data)
    }
}

pub fn channel(name: &str) -> Result<Source> {
    Ok(Source::channel(name.parse::<Name>()?))
}

pub fn yuan(text: &str) -> Result<Amount> {
    Ok(text.parse()?)
}
