//! The played Alipay, which was written apart from this, tells the door.

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

#[tokio::test]
async fn what_the_played_alipay_tells_is_understood() {
    let channels = keys::channels(ChannelsConfig::default());
    let bed = Bed::with_channels(&channels).await;
    let config = SandboxConfig { channels, ..SandboxConfig::default() };
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), config, Clock::System).await.unwrap();
    sandbox.set_door(Door { url: bed.serve().await, tokens: BTreeMap::new() });

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
