//! The keys of the played Alipay. Everybody has them, so they are good for the sandbox only.

/// With which the ledger signs what it sends.
pub const OURS_PRIVATE: &str = include_str!("keys/ours.private.pem");
pub const OURS_PUBLIC: &str = include_str!("keys/ours.public.pem");

/// With which the gateway signs its answers and notices.
pub const ALIPAY_PRIVATE: &str = include_str!("keys/alipay.private.pem");
pub const ALIPAY_PUBLIC: &str = include_str!("keys/alipay.public.pem");

/// The merchant at the played Alipay.
pub const APP_ID: &str = "2021000000000000";
pub const SELLER_ID: &str = "2088000000000000";
