//! The keys of the played channels. Everybody has those of Alipay and UnionPay, so they are good for the sandbox only.

use uuid::Uuid;

use crate::channels::ChannelsConfig;

/// With which the ledger signs what it sends.
pub const OURS_PRIVATE: &str = include_str!("keys/ours.private.pem");
pub const OURS_PUBLIC: &str = include_str!("keys/ours.public.pem");

/// With which the gateway signs its answers and notices.
pub const ALIPAY_PRIVATE: &str = include_str!("keys/alipay.private.pem");
pub const ALIPAY_PUBLIC: &str = include_str!("keys/alipay.public.pem");

/// The merchant at the played Alipay.
pub const APP_ID: &str = "2021000000000000";
pub const SELLER_ID: &str = "2088000000000000";

/// The merchant at the other played channels.
const MERCHANT_ID: &str = "898000000000000";

/// With which UnionPay signs its notices.
pub const UNIONPAY_PRIVATE: &str = include_str!("keys/unionpay.private.pem");
pub const UNIONPAY_CERTIFICATE: &str = include_str!("keys/unionpay.certificate.pem");

/// With which the ledger takes what the played channels tell. A channel that has a key of its own keeps it; secrets are
/// new ones each time.
#[must_use]
pub fn channels(mut own: ChannelsConfig) -> ChannelsConfig {
    for alipay in [&mut own.alipay_mini, &mut own.alipay_withholding] {
        if alipay.public_key.is_empty() {
            ALIPAY_PUBLIC.clone_into(&mut alipay.public_key);
            APP_ID.clone_into(&mut alipay.app_id);
            SELLER_ID.clone_into(&mut alipay.seller_id);
        }
    }
    if own.unionpay_cqp.certificates.is_empty() {
        own.unionpay_cqp.certificates = vec![UNIONPAY_CERTIFICATE.to_owned()];
        MERCHANT_ID.clone_into(&mut own.unionpay_cqp.merchant_id);
    }
    if own.ums_pos.key.is_empty() {
        own.ums_pos.key = secret();
        own.ums_pos.merchant_ids = vec![MERCHANT_ID.to_owned()];
        "3194".clone_into(&mut own.ums_pos.prefix);
    }
    if own.bestpay_web.key.is_empty() {
        own.bestpay_web.key = secret();
        MERCHANT_ID.clone_into(&mut own.bestpay_web.merchant_id);
    }
    for timed in [&mut own.ejt.0, &mut own.campus_pos.0] {
        if timed.secret.is_empty() {
            timed.secret = secret();
        }
    }
    own
}

fn secret() -> String {
    Uuid::new_v4().simple().to_string()
}
