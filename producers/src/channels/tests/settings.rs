//! What stops the start, and what closes a webhook.

use super::*;

fn opened(change: impl FnOnce(&mut ChannelsConfig)) -> String {
    let mut config = config();
    change(&mut config);
    Channels::open(&config, &Policy::default()).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn without_keys_there_is_no_webhook_and_the_setting_is_named() {
    let channels = Channels::open(&ChannelsConfig::default(), &Policy::default()).unwrap();
    for (channel, setting) in [
        ("alipay-mini", "LEDGER_CHANNELS__ALIPAY_MINI__PUBLIC_KEY"),
        ("alipay-withholding", "LEDGER_CHANNELS__ALIPAY_WITHHOLDING__PUBLIC_KEY"),
        ("unionpay-cqp", "LEDGER_CHANNELS__UNIONPAY_CQP__CERTIFICATES"),
        ("ums-pos", "LEDGER_CHANNELS__UMS_POS__KEY"),
        ("bestpay-web", "LEDGER_CHANNELS__BESTPAY_WEB__KEY"),
        ("campus-pos", "LEDGER_CHANNELS__CAMPUS_POS__SECRET"),
        ("ejt", "LEDGER_CHANNELS__EJT__SECRET"),
    ] {
        let Some(Err(named)) = channels.get(channel) else { panic!("{channel}") };
        assert_eq!(named, setting);
    }
    assert!(channels.get("wechat").is_none());
}

#[test]
fn a_key_that_cannot_be_read_stops_the_start_with_the_settings_name() {
    let public_key = opened(|config| config.alipay_mini.public_key = "MIIB".into());
    assert!(public_key.contains("LEDGER_CHANNELS__ALIPAY_MINI__PUBLIC_KEY") && !public_key.contains("MIIB"));
    let no_file = opened(|config| config.unionpay_cqp.certificates = vec!["no/such/file.pem".into()]);
    assert!(no_file.contains("LEDGER_CHANNELS__UNIONPAY_CQP__CERTIFICATES") && no_file.contains("file"), "{no_file}");
    let private = include_str!("../../signature/vectors/keys/channel.pkcs8.pem");
    assert!(
        !opened(|config| config.alipay_mini.public_key = private.into()).is_empty(),
        "a private key verifies nothing"
    );
}

#[test]
fn a_key_without_the_number_that_it_is_for_stops_the_start() {
    type Change = fn(&mut ChannelsConfig);
    let without: [(&str, Change); 5] = [
        ("ALIPAY_MINI__APP_ID", |config| config.alipay_mini.app_id.clear()),
        ("UNIONPAY_CQP__MERCHANT_ID", |config| config.unionpay_cqp.merchant_id.clear()),
        ("UMS_POS__MERCHANT_IDS", |config| config.ums_pos.merchant_ids.clear()),
        ("UMS_POS__PREFIX", |config| config.ums_pos.prefix.clear()),
        ("BESTPAY_WEB__MERCHANT_ID", |config| config.bestpay_web.merchant_id.clear()),
    ];
    for (setting, change) in without {
        assert!(opened(change).contains(setting), "{setting}");
    }
}

#[test]
fn a_key_may_stand_in_a_file() {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/src/signature/vectors/keys/");
    let opened = opened(|config| {
        config.alipay_mini.public_key = format!("{keys}channel.public.pem");
        config.unionpay_cqp.certificates = vec![format!("{keys}channel.certificate.pem")];
    });
    assert_eq!(opened, "");
}

#[test]
fn every_secret_is_known_as_one() {
    let mut config = config();
    let secrets: Vec<String> = config.secrets().into_iter().map(|secret| secret.clone()).collect();
    assert_eq!(secrets, [UMS_KEY, BESTPAY_KEY, SECRET, SECRET]);
}

#[test]
fn a_number_without_quotes_is_refused_before_it_loses_its_zeros() {
    let refused = serde_json::from_value::<ChannelsConfig>(json!({ "ums_pos": { "prefix": 319 } })).unwrap_err();
    assert!(refused.to_string().contains("quotes of its own"), "{refused}");
    let taken: ChannelsConfig = serde_json::from_value(json!({ "ums_pos": { "prefix": "0319" } })).unwrap();
    assert_eq!(taken.ums_pos.prefix, "0319");
}
