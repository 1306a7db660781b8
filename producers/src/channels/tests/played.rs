//! The played channels, which were written apart from these, tell the door.

use std::{collections::BTreeMap, time::Duration};

use engine::clock::Clock;

use super::*;
use crate::{
    door::tests::bed::Bed,
    sandbox::{Door, Sandbox, SandboxConfig, keys},
};

async fn wait_for(bed: &Bed, count: usize) -> Vec<Event> {
    for _ in 0..500 {
        if bed.events().len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bed.events()
}

/// A door, and a sandbox that tells it, at the same time.
async fn played() -> (Bed, Sandbox) {
    let channels = keys::channels(ChannelsConfig::default());
    let bed = Bed::with_channels(&channels).await;
    let config = SandboxConfig { channels, ..SandboxConfig::default() };
    let clock = Clock::simulated(now());
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), config, clock).await.unwrap();
    sandbox.set_door(Door { url: bed.serve().await, tokens: BTreeMap::new() });
    (bed, sandbox)
}

#[tokio::test]
async fn a_payment_at_every_played_channel_is_understood_and_acknowledged() {
    let (bed, sandbox) = played().await;
    let payments = [
        ("alipay-mini", "wallet"),
        ("unionpay-cqp", "cqp"),
        ("ums-pos", "card"),
        ("ums-pos", "qr_b2c"),
        ("bestpay-web", "netbank"),
        ("ejt", "netbank"),
    ];
    for (count, (channel, method)) in (1_u8..).zip(payments) {
        let number = OrderId::new(&Stream::loan([1; 10]), [count; 8]).unwrap();
        let payment = json!({ "order_no": number, "channel": channel, "method": method, "amount": "8.00" });
        let paid = sandbox.pay(serde_json::from_value(payment).unwrap());
        let captured = wait_for(&bed, count.into()).await.pop().unwrap();
        let Data::PaymentCaptured(data) = &captured.data else { panic!("{captured:?}") };
        assert_eq!((captured.subject.as_str(), captured.occurred_at), (number.as_str(), paid.captured_at), "{channel}");
        assert_eq!((&data.channel, &data.channel_txn_no), (&paid.channel, &paid.channel_txn_no));
        assert_eq!((data.method, data.amount, data.business_date), (paid.method, paid.amount, paid.business_date));
        assert_eq!(data.fee, None, "only a CloudEvent has the fee of {channel}");
        let is_acknowledged = || sandbox.books().captures[&number][0].notices_acknowledged == 1;
        for _ in 0..500 {
            if is_acknowledged() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(is_acknowledged(), "{channel}");
    }
}

#[tokio::test]
async fn what_the_played_alipay_tells_is_understood() {
    let (bed, sandbox) = played().await;
    let number = order(StreamKind::Card);
    let payment = json!({ "order_no": number, "channel": "alipay-mini", "method": "wallet", "amount": "8.00" });
    let paid = sandbox.pay(serde_json::from_value(payment).unwrap());
    let events = wait_for(&bed, 1).await;
    let Data::PaymentCaptured(data) = &events[0].data else { panic!("{events:?}") };
    assert_eq!((data.channel_txn_no.as_str(), data.amount), (paid.channel_txn_no.as_str(), paid.amount));
    assert_eq!(data.method, Method::Wallet);

    let unpaid = OrderId::new(&number.stream(), [2; 8]).unwrap();
    sandbox.close_trade(&"alipay-mini".parse().unwrap(), &unpaid, "8.00".parse().unwrap());
    let closed = wait_for(&bed, 2).await.pop().unwrap();
    assert!(matches!(closed.data, Data::OrderCancelled(_)) && closed.subject == unpaid.as_str(), "{closed:?}");

    sandbox.sign_mandate(number.as_str(), "agreement-1").await;
    let signed = wait_for(&bed, 3).await.pop().unwrap();
    assert!(matches!(signed.data, Data::WithholdingMandateSigned(_)) && signed.stream == number.stream(), "{signed:?}");
    sandbox.end_mandate("agreement-1").await;
    let ended = wait_for(&bed, 4).await.pop().unwrap();
    assert!(matches!(ended.data, Data::WithholdingMandateEnded(_)) && ended.stream == number.stream(), "{ended:?}");
}
