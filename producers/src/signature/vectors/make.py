#!/usr/bin/env python3
"""Makes vectors.json with openssl and Python's own library, so that the tests do not check our code against itself.

The keys in keys/ are for tests alone. Where they are missing they are made anew; with the same keys, the same vectors
come out again, because RSA with PKCS #1 v1.5 knows no chance.
"""

import base64
import hashlib
import hmac
import json
import subprocess
from pathlib import Path
from urllib.parse import quote_plus

HERE = Path(__file__).parent
KEYS = HERE / "keys"
# The serial number of the certificates, which takes five bytes.
CERT_ID = "69026276696"


def openssl(*arguments, stdin=b""):
    return subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=True).stdout


def make_keys():
    KEYS.mkdir(exist_ok=True)
    for name in ["channel", "other"]:
        pkcs8 = KEYS / f"{name}.pkcs8.pem"
        if not pkcs8.exists():
            openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", pkcs8)
            openssl("rsa", "-in", pkcs8, "-traditional", "-out", KEYS / f"{name}.pkcs1.pem")
            openssl("pkey", "-in", pkcs8, "-pubout", "-out", KEYS / f"{name}.public.pem")
            subject = ["-subj", f"/CN={name}", "-days", "36500", "-set_serial", CERT_ID]
            openssl("req", "-x509", "-key", pkcs8, *subject, "-out", KEYS / f"{name}.certificate.pem")
    refused = {"short": "RSA -pkeyopt rsa_keygen_bits:1024", "elliptic": "EC -pkeyopt ec_paramgen_curve:P-256"}
    for name, kind in refused.items():
        if not (KEYS / f"{name}.public.pem").exists():
            secret = openssl("genpkey", "-algorithm", *kind.split())
            (KEYS / f"{name}.public.pem").write_bytes(openssl("pkey", "-pubout", stdin=secret))


def rsa_sha256(message, key="channel"):
    signature = openssl("dgst", "-sha256", "-sign", KEYS / f"{key}.pkcs8.pem", stdin=message)
    return base64.b64encode(signature).decode()


def joined(fields, leave_out=(), charset="utf-8", empty=False):
    pairs = sorted((name, value) for name, value in fields.items() if name not in leave_out and (value or empty))
    return "&".join(f"{name}={value}" for name, value in pairs).encode(charset)


def form(fields, charset="utf-8"):
    return "&".join(f"{name}={quote_plus(value, encoding=charset)}" for name, value in fields.items())


def alipay():
    notice = {
        "app_id": "2021000000000001",
        "notify_type": "trade_status_sync",
        "notify_id": "2026030100222090512000000000000001",
        "charset": "utf-8",
        "trade_no": "2026030122001400000000000001",
        "out_trade_no": "20260301-0001",
        "subject": "学费 & 住宿费 +100%=全额",
        "body": "",
        "fund_bill_list": '[{"amount":"0.80","fundChannel":"ALIPAYACCOUNT"}]',
        "total_amount": "0.80",
        "trade_status": "TRADE_SUCCESS",
        "gmt_payment": "2026-03-01 08:30:00",
    }
    outside = ("sign", "sign_type")

    def signed(charset, empty=False, key="channel"):
        fields = notice | {"charset": charset}
        signature = rsa_sha256(joined(fields, outside, charset, empty), key)
        return form(fields | {"sign_type": "RSA2", "sign": signature}, charset)

    request = {
        "app_id": "2021000000000001",
        "method": "alipay.trade.refund",
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-03-01 08:31:00",
        "version": "1.0",
        "app_auth_token": "",
        "biz_content": '{"out_trade_no":"20260301-0001","refund_amount":"0.80","out_request_no":"R1"}',
    }
    # The gateway escapes slashes, and what it signs is its own spelling.
    node = '{"code":"10000","msg":"Success","fund_change":"Y","refund_fee":"0.80","detail":{"url":"https:\\/\\/a\\/b"}}'
    error = '{"code":"40002","msg":"Invalid Arguments","sub_code":"isv.invalid-app-id"}'

    def answered(name, text):
        return f'{{"{name}":{text},"sign":"{rsa_sha256(text.encode())}"}}'

    return {
        "notice": signed("utf-8"),
        "notice_gbk": signed("gbk"),
        "notice_with_empty_fields_signed": signed("utf-8", empty=True),
        "notice_of_another_key": signed("utf-8", key="other"),
        "request": form(request | {"sign": rsa_sha256(joined(request))}),
        "response_node": node,
        "response": answered("alipay_trade_refund_response", node),
        "response_error": answered("error_response", error),
    }


def unionpay():
    notice = {
        "version": "5.1.0",
        "encoding": "UTF-8",
        "signMethod": "01",
        "txnType": "01",
        "txnSubType": "01",
        "merId": "898310000000001",
        "orderId": "202603010001",
        "queryId": "952603010830001234568",
        "txnAmt": "136",
        "settleDate": "0301",
        "traceNo": "479103",
        "respCode": "00",
        "respMsg": "成功[0000000]",
        "reqReserved": "",
    }

    def signed(fields, key="channel", charset="utf-8"):
        digest = hashlib.sha256(joined(fields, charset=charset)).hexdigest().encode()
        return form(fields | {"signature": rsa_sha256(digest, key)}, charset)

    certificate = (KEYS / "channel.certificate.pem").read_text().replace("\n", "\r\n")
    return {
        "notice": signed(notice | {"certId": CERT_ID}),
        "notice_gbk": signed(notice | {"certId": CERT_ID, "encoding": "GBK"}, charset="gbk"),
        "notice_with_certificate": signed(notice | {"signPubKeyCert": certificate}),
        "notice_of_another_key": signed(notice | {"certId": CERT_ID}, "other"),
        "notice_of_unknown_certificate": signed(notice | {"certId": "69026276697"}),
    }


def chinaums():
    key = "a-key-of-china-ums-for-tests"
    notice = {
        "mid": "898340149000005",
        "tid": "88880001",
        "merOrderId": "3194202603010001",
        "status": "TRADE_SUCCESS",
        "totalAmount": "136",
        "seqId": "00466201245N",
        "settleRefId": "00466201244N",
        "settleDate": "2026-03-01",
        "payTime": "2026-03-01 08:30:00",
        "billFunds": "现金:136",
        "attachedData": "",
        "signType": "SHA256",
    }
    sign = hashlib.sha256(joined(notice) + key.encode()).hexdigest().upper()
    members = notice | {"totalAmount": 136, "attachedData": None, "sign": sign}
    return {
        "key": key,
        "form": form(notice | {"sign": sign}),
        "json": json.dumps(members, indent=1),
        "json_in_utf8": json.dumps(members, ensure_ascii=False),
    }


def bestpay():
    merchant, key = "0250000001", "A-KEY-OF-BESTPAY-FOR-TESTS"
    notice = {
        "UPTRANSEQ": "20110901000001",
        "TRANDATE": "20110901",
        "RETNCODE": "0000",
        "RETNINFO": "支付成功",
        "ORDERREQTRANSEQ": "2011090100000101",
        "ORDERSEQ": "20110901000001",
        "ORDERAMOUNT": "10000",
        "PRODUCTAMOUNT": "10000",
        "ATTACHAMOUNT": "0",
        "CURTYPE": "RMB",
        "ENCODETYPE": "1",
        "BANKID": "",
        "ATTACH": "",
    }

    def signed(order, amount, date, charset):
        text = (
            f"UPTRANSEQ={notice['UPTRANSEQ']}&MERCHANTID={merchant}&{order}={notice['ORDERSEQ']}"
            f"&{amount}={notice['ORDERAMOUNT']}&RETNCODE={notice['RETNCODE']}&RETNINFO={notice['RETNINFO']}"
            f"&{date}={notice['TRANDATE']}&KEY={key}"
        )
        sign = hashlib.md5(text.encode(charset)).hexdigest().upper()
        return form(notice | {"SIGN": sign}, charset)

    return {
        "merchant": merchant,
        "key": key,
        "web": signed("ORDERID", "PAYMENT", "PAYDATE", "gbk"),
        "mobile": signed("ORDERSEQ", "ORDERAMOUNT", "TRANDATE", "utf-8"),
    }


def timestamped():
    secret, sent_s, body = "a secret of the school", 1772353800, '{"order_no":"E1","status":"PAID","payer":"张三"}'
    mac = hmac.new(secret.encode(), f"{sent_s}.{body}".encode(), hashlib.sha256).hexdigest()
    return {"secret": secret, "sent_s": sent_s, "body": body, "header": f"t={sent_s},v1={mac}"}


if __name__ == "__main__":
    make_keys()
    schemes = [alipay, unionpay, chinaums, bestpay, timestamped]
    vectors = {scheme.__name__: scheme() for scheme in schemes}
    (HERE / "vectors.json").write_text(json.dumps(vectors, ensure_ascii=False, indent=2) + "\n")
