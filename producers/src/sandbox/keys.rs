//! The keys of the played Alipay. Everybody has them, so they are good for the sandbox only.

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

/// With which the ledger takes what the played channels tell. A channel that has a key of its own keeps it.
#[must_use]
pub fn channels(mut own: ChannelsConfig) -> ChannelsConfig {
    for alipay in [&mut own.alipay_mini, &mut own.alipay_withholding] {
        if alipay.public_key.is_empty() {
            ALIPAY_PUBLIC.clone_into(&mut alipay.public_key);
            APP_ID.clone_into(&mut alipay.app_id);
            SELLER_ID.clone_into(&mut alipay.seller_id);
        }
    }
    own
}
